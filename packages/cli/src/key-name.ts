import { type KmsClient, KmsError } from '@cloister/kms'
import { UsageError } from './usage-error.ts'

const KEY_ID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/

/**
 * The id of the key that a person names by id or by alias.
 * @throws UsageError when no key of the account has that alias
 */
export async function keyIdOf(client: KmsClient, name: string): Promise<string> {
  if (KEY_ID.test(name)) return name
  try {
    return (await client.describeKey(`alias/${name}`)).keyId
  } catch (error) {
    const isName = error instanceof KmsError && ['NOT_FOUND', 'MALFORMED'].includes(error.code)
    if (!isName) throw error
    const aliases = (await client.listAliases()).map(({ alias }) => alias)
    throw new UsageError(
      `wanted a key's id or alias, saw ${name}; the aliases are: ${aliases.join(', ') || 'none'}`,
      'cloister key list shows the keys',
    )
  }
}
