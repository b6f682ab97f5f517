import type { KmsClient } from '@cloister/kms'
import { UsageError } from './usage-error.ts'

const KEY_ID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/

/**
 * The id of the key that a person names by id or by alias. An alias is a word of the account's own
 * and may be given to several keys; then only an id will do.
 * @throws UsageError when no key, or more than one, has that alias
 */
export async function keyIdOf(client: KmsClient, name: string): Promise<string> {
  if (KEY_ID.test(name)) return name
  const keys = await client.listKeys()
  const [found, ...others] = keys.filter(key => key.alias === name)
  if (found === undefined) {
    const aliases = keys.flatMap(key => (key.alias === undefined ? [] : [key.alias]))
    throw new UsageError(
      `--key: wanted a key's id or alias, saw ${name}; the aliases are: ${aliases.join(', ') || 'none'}`,
      'cloister key list shows the keys',
    )
  }
  if (others.length > 0) {
    throw new UsageError(
      `--key: ${others.length + 1} keys have the alias ${name}`,
      'give the id: cloister key list',
    )
  }
  return found.keyId
}
