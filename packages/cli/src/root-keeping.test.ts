import { describe, expect, it } from 'vitest'
import { rootKeepingFrom } from './root-keeping.ts'
import { UsageError } from './usage-error.ts'

const keeping = (text: string) => rootKeepingFrom('--root-key', text, undefined)

describe('--root-key', () => {
  it('takes a token as a PKCS#11 URI', async () => {
    const uri = 'pkcs11:token=My%20token?module-path=/usr/lib/m.so&pin-source=file:/run/pin'
    expect(await keeping(uri)).toEqual({
      kind: 'pkcs11',
      tokenLabel: 'My token',
      modulePath: '/usr/lib/m.so',
      pinFile: '/run/pin',
    })
  })

  it.each([
    'pkcs11:token=t?module-path=/m.so&pin-value=1234',
    'pkcs11:token=t?module-path=/m.so&pin-source=/p&pin-value=1234',
    'pkcs11:token=t?module-path=/m.so',
    'pkcs11:token=t',
    'pkcs11:',
    'pkcs11:token=t;token=u?module-path=/m.so&pin-source=/p',
    'pkcs11:token=t;object=o?module-path=/m.so&pin-source=/p',
    'pkcs11:token=%E0%A4%A?module-path=/m.so&pin-source=/p',
    'sealed:measurement',
    'sealed:product',
    'memory',
    'passphrase:',
    '',
  ])('refuses %s, and repeats no PIN', async text => {
    const error: unknown = await keeping(text).catch((refusal: unknown) => refusal)
    expect(error).toBeInstanceOf(UsageError)
    expect(String(error)).not.toContain('1234')
  })
})
