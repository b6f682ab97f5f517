import { parse } from 'yaml'
import type { Asked } from '../kubernetes/writable-api-server.test.support.ts'
import { pageBlocks } from '../repository.test.support.ts'

const sorted = (permissions: Iterable<string>) => [...new Set(permissions)].sort()

/** What a user must be let do to ask all this, each once. */
export const permissionsIn = (asked: readonly Asked[]): readonly string[] =>
  sorted(asked.map(({ verb, group, resource }) => `${verb} ${group} ${resource}`))

/** What a role on the page lets its users do. */
export async function permissionsOn(...names: readonly string[]): Promise<readonly string[]> {
  const roles = (await pageBlocks()).filter(text =>
    names.some(name => text.includes(`name: ${name}\n`)),
  )
  const allowed: string[] = []
  for (const { apiGroups, resources, verbs } of roles.flatMap(text => parse(text).rules)) {
    for (const group of apiGroups)
      for (const resource of resources)
        for (const verb of verbs) allowed.push(`${verb} ${group} ${resource}`)
  }
  return sorted(allowed)
}
