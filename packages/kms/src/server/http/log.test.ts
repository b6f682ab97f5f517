import { describe, expect, it } from 'vitest'
import { KmsError } from '../../protocol/errors.ts'
import { StoreError } from '../store/index.ts'
import {
  EventLog,
  errorChain,
  plainCode,
  plainKmsId,
  plainOrigin,
  plainRoute,
  plainUuid,
} from './log.ts'

const SECRET = 'c2VjcmV0LW9mLTMyLWJ5dGVzLWluLWJhc2U2NHVybCE'

describe('the log', () => {
  it('takes words of the source, numbers and what was made plain, by its type', () => {
    const lines: string[] = []
    const log = new EventLog(
      line => lines.push(line),
      () => new Date(0),
    )
    const state: 'on' | 'off' = Date.now() > 0 ? 'on' : 'off'
    log.write('event', { word: 'as written', state, count: 1, codes: [plainCode('NOT_FOUND')] })
    expect(lines).toEqual([
      '{"at":"1970-01-01T00:00:00.000Z","event":"event","word":"as written","state":"on","count":1,"codes":["NOT_FOUND"]}',
    ])
    const secret: string = SECRET
    const url: `https://${string}` = `https://${secret}`
    const given: { readonly secret: unknown; readonly inside: { readonly text: string } } = {
      secret,
      inside: { text: secret },
    }
    const refused = () => {
      // @ts-expect-error text that came from anywhere
      log.write('event', { text: secret })
      // @ts-expect-error text that was put together
      log.write('event', { text: `at ${secret}` })
      // @ts-expect-error a pattern is not written out
      log.write('event', { url })
      // @ts-expect-error a list of any texts
      log.write('event', { texts: [secret] })
      // @ts-expect-error what is not known
      log.write('event', { value: given.secret })
      // @ts-expect-error an object
      log.write('event', { value: given.inside })
      // @ts-expect-error bytes
      log.write('event', { bytes: Buffer.from(secret) })
      // @ts-expect-error an event that came from anywhere
      log.write(secret)
    }
    expect(refused).toBeTypeOf('function')
  })

  it('makes plain only what has the form of what is no secret', () => {
    const forms = [plainCode, plainUuid, plainKmsId]
    const secrets = [SECRET, 'a'.repeat(32), '{"a":1}', 'Bearer x', '']
    for (const form of forms) for (const secret of secrets) expect(form(secret)).toBe('other')
    expect(plainRoute('/v1/keys/:id')).toBe('/v1/keys/:id')
    expect(plainRoute('/v1/keys?secret=1')).toBe('other')
    expect(plainOrigin('https://user:password@kms:8443/path?x#y')).toBe('https://kms:8443')
  })
})

describe('the causes of a failure', () => {
  it('are told in our own words, and of others by name, code and place', () => {
    const parse = new Error('unused')
    try {
      JSON.parse(SECRET)
    } catch (error) {
      parse.cause = error
    }
    expect(String(parse.cause)).toContain(SECRET.slice(0, 5))
    const store = new StoreError('SQL', 'the row cannot be written', { cause: parse.cause })
    const chain = errorChain(new KmsError('INTERNAL', 'it failed', { cause: store }))
    expect(chain[0]).toBe('KmsError [INTERNAL]: it failed')
    expect(chain[1]).toBe('StoreError [SQL]: the row cannot be written')
    expect(chain[2]).toMatch(/^SyntaxError( at .*\(log\.test\.[jt]s:\d+\))?$/)
    expect(chain.join()).not.toContain(SECRET.slice(0, 5))
  })

  it('tell where an error that nobody thought of came from', () => {
    const [told] = errorChain(new TypeError(`cannot read ${SECRET}`))
    expect(told).toMatch(/^TypeError at .*\(log\.test\.[jt]s:\d+\)$/)
    const odd = Object.assign(new Error(SECRET), { name: SECRET, code: `x ${SECRET}` })
    expect(errorChain(odd).join()).not.toContain(SECRET)
  })
})
