import type { KeyDescription } from '@cloister/kms'
import { table } from '../output/table.ts'

/** Keys, a row each. */
export function keyTable(keys: readonly KeyDescription[]): string {
  return table(
    ['key', 'aliases', 'mode', 'state', 'kind', 'version', 'created'],
    keys.map(key => [
      key.keyId,
      key.aliases.join(', '),
      key.mode,
      key.state,
      key.keySpec,
      String(key.currentVersion),
      key.createdAt,
    ]),
  )
}

/** All that there is to say of a key. */
export function describeForPeople(key: KeyDescription): string {
  const { rotation } = key
  const tags = Object.entries(key.tags).map(([name, value]) => `${name}=${value}`)
  const lines = [
    ['key', key.keyId],
    ['aliases', key.aliases.join(', ') || 'none'],
    ['description', key.description || 'none'],
    ['mode', key.mode],
    ['state', key.deletionAt === null ? key.state : `${key.state} (${key.deletionAt})`],
    ['kind', `${key.keySpec}, ${key.keyUsage}`],
    ['algorithms', key.algorithms.join(', ')],
    ['material', key.origin === 'internal' ? 'made by the key service' : 'imported'],
    ['version', String(key.currentVersion)],
    [
      'rotation',
      rotation === null
        ? 'on demand'
        : `every ${rotation.periodDays} days, next at ${rotation.nextRotationAt}`,
    ],
    ['tags', tags.join(', ') || 'none'],
    ['created', key.createdAt],
    ['owner', key.owner],
  ] as const
  return lines.map(([name, value]) => `${`${name}:`.padEnd(13)}${value}`).join('\n')
}
