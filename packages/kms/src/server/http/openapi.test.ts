import { fileURLToPath } from 'node:url'
import { Validator } from '@seriousme/openapi-schema-validator'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { World } from '../flow.test.support.ts'
import { openApiDocument } from './openapi.ts'
import { OPERATIONS } from './operations/index.ts'
import { rawCall } from './raw-call.test.support.ts'

/** `npx vitest run packages/kms/dist/server/http/openapi.test.js -u` writes it anew. */
const CHECKED_IN = fileURLToPath(new URL('../../../../../docs/openapi.json', import.meta.url))

let world: World

beforeAll(async () => {
  world = await World.start()
})

afterAll(() => world.stop())

describe('the OpenAPI document', () => {
  it('describes every route there is, and is the one in the docs', async () => {
    const path = '/v1/openapi.json'
    const { status, text } = await rawCall(world.kms.pin, { method: 'GET', path })
    expect(status, text).toBe(200)
    await expect(`${text}\n`).toMatchFileSnapshot(CHECKED_IN)
  })

  it('is valid OpenAPI 3.1', async () => {
    const path = '/v1/openapi.json'
    const { text } = await rawCall(world.kms.pin, { method: 'GET', path })
    const { errors, valid } = await new Validator().validate(JSON.parse(text))
    expect(errors).toBeUndefined()
    expect(valid).toBe(true)
    const broken = JSON.parse(text)
    broken.paths['/v1/keys'].post.responses = []
    expect((await new Validator().validate(broken)).valid).toBe(false)
  })

  it('is not written while a route is in no operation, or an operation in no route', () => {
    const routes = OPERATIONS.map(({ method, path }) => ({ method, path }))
    expect(openApiDocument(routes)).toMatchObject({ openapi: '3.1.0' })
    const more = [...routes, { method: 'POST', path: '/v1/keys/:id/export' }]
    expect(() => openApiDocument(more)).toThrow('POST /v1/keys/:id/export')
    expect(() => openApiDocument(routes.slice(1))).toThrow('CreateKey')
  })

  it('names each operation once', () => {
    const ids = OPERATIONS.map(({ id }) => id)
    expect(new Set(ids).size).toBe(ids.length)
  })
})
