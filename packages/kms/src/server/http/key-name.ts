import type { FastifyRequest } from 'fastify'
import { alias as aliasSchema } from '../../protocol/messages/keys.ts'
import { cmkId, parseAs } from '../../protocol/schema.ts'
import type { KmsService } from '../service.ts'
import type { StoreTransaction } from '../store/index.ts'

const PREFIX = 'alias/'

/**
 * The id of the key that a route names: by its id, or as `alias/<alias>`. For uses of keys alone:
 * what changes a key, and every policy, takes ids.
 * @throws KmsError MALFORMED; KeyError ALIAS_NOT_FOUND
 */
export async function keyOf(
  service: KmsService,
  tx: StoreTransaction,
  owner: string,
  request: FastifyRequest,
): Promise<string> {
  const { id } = request.params as { readonly id?: unknown }
  if (typeof id !== 'string' || !id.startsWith(PREFIX)) return parseAs('id', cmkId, id)
  const alias = parseAs('alias', aliasSchema, id.slice(PREFIX.length))
  return await service.keys.aliases.keyIdOf(tx, owner, alias)
}
