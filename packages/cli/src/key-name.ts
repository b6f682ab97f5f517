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
    throw await explained(client, name, error)
  }
}

/**
 * Uses a key that a person names by id or by alias. An alias goes to the key service as it is: a
 * credential that may use keys need not be one that may look them up.
 * @throws UsageError when no key of the account has that alias
 */
export async function withKey<T>(
  client: KmsClient,
  name: string,
  use: (key: string) => Promise<T>,
): Promise<T> {
  if (KEY_ID.test(name)) return await use(name)
  try {
    return await use(`alias/${name}`)
  } catch (error) {
    throw await explained(client, name, error)
  }
}

/** What a call failed by: where it was the alias, with those that there are. */
async function explained(client: KmsClient, name: string, error: unknown): Promise<unknown> {
  const isOfName = error instanceof KmsError && ['NOT_FOUND', 'MALFORMED'].includes(error.code)
  const known = isOfName ? await client.listAliases().catch(() => undefined) : undefined
  const aliases = known?.map(({ alias }) => alias)
  if (aliases === undefined || aliases.includes(name)) return error
  return new UsageError(
    `wanted a key's id or alias, saw ${name}; the aliases are: ${aliases.join(', ') || 'none'}`,
    'cloister key list shows the keys',
  )
}
