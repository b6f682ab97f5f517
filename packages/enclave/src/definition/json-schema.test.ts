import { readFileSync, writeFileSync } from 'node:fs'
import { Ajv } from 'ajv'
import { describe, expect, it } from 'vitest'
import { parse } from 'yaml'
import { definitionJsonSchema, SCHEMA_FILE } from './json-schema.ts'

const FILE = new URL(`../../../../docs/schemas/${SCHEMA_FILE}`, import.meta.url)
const text = `${JSON.stringify(definitionJsonSchema(), null, 2)}\n`

describe('docs/schemas/enclave.schema.json', () => {
  it('is made of the schema that definitions are checked by (UPDATE_SCHEMA=1 writes it)', () => {
    if (process.env['UPDATE_SCHEMA'] === '1') writeFileSync(FILE, text)
    // The file is formatted like the rest of the tree.
    expect(JSON.parse(readFileSync(FILE, 'utf8'))).toEqual(JSON.parse(text))
  })

  it('is a schema that another validator reads, and refuses typos by', () => {
    const validate = new Ajv({ strict: false }).compile(JSON.parse(text) as object)
    const good = parse(`version: 1
name: sample
entry: {program: [/usr/bin/true]}
network: none
identity: {isvProdId: 1, isvSvn: 1}
resources: {memoryMiB: 64}
`) as object
    expect(validate(good)).toBe(true)
    expect(validate({ ...good, netwrok: 'none' })).toBe(false)
    expect(validate({ ...good, network: 'host' })).toBe(false)
  })
})
