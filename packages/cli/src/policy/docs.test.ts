import { readFile } from 'node:fs/promises'
import { parseJobTemplate } from '@cloister/kms'
import { OfflinePolicies, parseCaseFile } from '@cloister/kms/server'
import { expect, it } from 'vitest'
import { parse } from 'yaml'

const KEY = '7f0c2a6e-3b1d-4c5e-8f90-a1b2c3d4e5f6'

/** A block of a page, with what it abbreviates written out: four digits to the length of their kind. */
async function block(page: string, kind: string): Promise<string> {
  const text = await readFile(new URL(`../../../../docs/${page}`, import.meta.url), 'utf8')
  const found = [...text.matchAll(new RegExp(`\`\`\`${kind}\n([^]*?)\`\`\``, 'g'))][0]?.[1] ?? ''
  return found
    .replaceAll('7f0c…', KEY)
    .replaceAll('MFkw…', `${'A'.repeat(121)}Q`)
    .replaceAll(/(0a0b|0001|1011)…/g, (_all, digits: string) => `"${digits.repeat(8)}"`)
    .replaceAll(/"([0-9a-f]{4})…"|([0-9a-f]{4})…/g, (_all, one?: string, other?: string) =>
      JSON.stringify((one ?? other ?? '').repeat(16)),
    )
}

it('shows a template, a text and a job template that are taken', async () => {
  const { jobTemplate: _file, ...template } = parse(
    await block('formats/release-policy.md', 'yaml'),
  )
  const job = parseJobTemplate(parse(await block('formats/job-template.md', 'yaml')))
  const { jobDigests: _digests, ...other } = template
  const policies = await OfflinePolicies.open([
    { name: 'template', source: { template } },
    { name: 'of jobs', source: { template: { ...other, jobTemplate: job } } },
    { name: 'text', source: { cedar: await block('formats/release-policy.md', 'cedar') } },
    { name: 'forbid', source: { cedar: await block('policies.md', 'cedar') } },
  ])
  expect(policies.texts.map(({ keyId }) => keyId)).toEqual([KEY, KEY, KEY, KEY])
})

it('shows cases that can be read', async () => {
  const cases = parseCaseFile(parse(await block('policies.md', 'yaml')))
  expect(cases.cases.map(({ expect: expected }) => expected)).toEqual([
    'permit',
    'deny',
    'deny',
    'deny',
  ])
})
