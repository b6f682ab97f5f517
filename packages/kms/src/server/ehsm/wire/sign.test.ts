import { describe, expect, it } from 'vitest'
import { isShallow, isSignatureOf, signatureOf, stringToSign } from './sign.ts'

const API_KEY = Buffer.from('k3yForTestVectors0123456789ABCDE')
const APP = '11111111-2222-4333-8444-555555555555'
const TIME = '1700000000000'
const KEY = 'aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee'

/** Computed by two other programs that agree: nonce, payload, what is between account and time, MAC. */
const VECTORS: readonly (readonly [string | undefined, object | undefined, string, string])[] = [
  [
    undefined,
    {
      keyspec: 'EH_AES_GCM_256',
      origin: 'EH_INTERNAL_KEY',
      keyusage: 'EH_KEYUSAGE_ENCRYPT_DECRYPT',
    },
    '&payload=keyspec=EH_AES_GCM_256&keyusage=EH_KEYUSAGE_ENCRYPT_DECRYPT&origin=EH_INTERNAL_KEY',
    'qQyEsJxNuKQV5KU22Vk4r5LB12t7U9y7zQA70MOqkI0=',
  ],
  [
    '8675309',
    { keyid: KEY, plaintext: 'aGVsbG8+d29ybGQ/Cg==', aad: 'YWFk' },
    `&nonce=8675309&payload=aad=YWFk&keyid=${KEY}&plaintext=aGVsbG8+d29ybGQ/Cg==`,
    'rjOfLR4VOGGZTRD9g96/MVj+phIxPH/6dOYv1xPEn7E=',
  ],
  [
    undefined,
    { keylen: 48, keyid: KEY, aad: '' },
    `&payload=keyid=${KEY}&keylen=48`,
    'rT5XWC/NPR4AdEZEl6fdQt/tdkZzUFN8gRBNsMNVwJM=',
  ],
  [undefined, undefined, '', 'p0vvMcZw/u3t+Y4zgwJDdHk7l6FtlQFteznuyDbJwiQ='],
  [undefined, {}, '&payload=', 'VpT9quove8VwpudxLbWSobwVgmyfU6HCFVge4kGIgLA='],
  [
    undefined,
    { secretName: 'naïve & name=1', secretData: 'p%40ss w+rd\t%' },
    '&payload=secretData=p%40ss w+rd\t%&secretName=naïve & name=1',
    'xWnpqKcOj7NqKWFPdcUW0EpieG1k8Aa0S9nGUoLvMNs=',
  ],
  [
    undefined,
    { aad: 'test', keyid: KEY, keylen: 32 },
    `&payload=aad=test&keyid=${KEY}&keylen=32`,
    'rS/4r4yfwsg6zfXS3QFloaMyc6rQ4MhOiTTx7zSmgm8=',
  ],
  [
    undefined,
    { secretName: 's1', recoveryPeriod: 7, forceDelete: 'false' },
    '&payload=forceDelete=false&recoveryPeriod=7&secretName=s1',
    'E0jfAceEv0JhESxspfYXs2jw9fl8ZeOLGYQQ8W4ScSc=',
  ],
]

describe('signing', () => {
  it.each(VECTORS)('nonce %s, payload %j', (nonce, payload, between, sign) => {
    const members = { timestamp: TIME, payload, nonce, appid: APP }
    expect(stringToSign(members)).toBe(`appid=${APP}${between}&timestamp=${TIME}`)
    expect(signatureOf(API_KEY, members)).toBe(sign)
    expect(isSignatureOf(API_KEY, members, sign)).toBe(true)
    expect(isSignatureOf(API_KEY, members, sign.toUpperCase())).toBe(false)
    expect(isSignatureOf(API_KEY, { ...members, nonce: '1' }, sign)).toBe(false)
  })

  it('of a reply leaves its zero result out', () => {
    const members = {
      result: 40_962,
      nonce: 'bm9uY2U=',
      mr_enclave: 'a'.repeat(64),
      mr_signer: 'b'.repeat(64),
    }
    expect(signatureOf(API_KEY, members)).toBe('EbvfllPKlxdmZrhbkkfj8rlBphj0TQT6S/RUCXckFxc=')
    expect(stringToSign({ ...members, result: 0 })).not.toContain('result')
  })

  it.each([
    [{ a: 0, b: false, c: [], d: '', e: null, f: undefined, g: [[]], h: -0 }, ''],
    [{ a: ' ', b: '0', c: true, d: 1e21, e: 0.5 }, 'a= &b=0&c=true&d=1e+21&e=0.5'],
    [{ a: {}, B: { z: {}, y: 1 }, 10: 1, 9: 2 }, '10=1&9=2&B=y=1&z=&a='],
    [{ a: [1, 'x', ['y']] }, 'a=0=1&1=x&2=0=y'],
  ])('of %j is over what is there, in order', (value, text) => {
    expect(stringToSign(value)).toBe(text)
  })

  it('takes a list for empty where its text is, whatever its members are called', () => {
    const lists: unknown[][] = [[], [''], [null], [[]], [[null]], [['']], [0], ['', ''], [[], []]]
    for (const list of lists) {
      const isEmpty = String(list) === ''
      expect([list, stringToSign({ list }) === '']).toEqual([list, isEmpty])
    }
    expect(stringToSign({ list: [{ toString: 'a' }] })).toBe('list=0=toString=a')
  })

  it('is refused of what nests too deep to be a payload', () => {
    let value: unknown = 1
    for (let depth = 0; depth < 16; depth++) value = [value]
    expect(isShallow(value)).toBe(true)
    expect(isShallow([value])).toBe(false)
    let deep: unknown = 1
    for (let depth = 0; depth < 50_000; depth++) deep = { a: deep }
    expect(isShallow(deep)).toBe(false)
  })
})
