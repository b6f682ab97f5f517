import type { Static } from '@sinclair/typebox'
import type { FastifyRequest } from 'fastify'
import { KmsError } from '../../protocol/errors.ts'
import { MAX_PAGE } from '../../protocol/messages/keys.ts'
import type { answers } from '../../protocol/messages.ts'
import { algorithmsOf, type KeyDescription } from '../keys/index.ts'
import type { KmsService } from '../service.ts'
import type { StoreTransaction } from '../store/index.ts'

/** What a route answers with. */
export type Reply<Name extends keyof typeof answers> = Promise<Static<(typeof answers)[Name]>>

/** A key as it goes over the wire. */
export function keyJson(
  key: KeyDescription,
  aliases: readonly string[],
): Static<typeof answers.key> {
  const { createdAt, currentVersion, description, keyId, mode, origin, owner, state, tags } = key
  const { deletionAt, rotation, spec, usage } = key
  return {
    ...{ keyId, owner, mode, state, keySpec: spec, keyUsage: usage, origin, currentVersion },
    algorithms: [...algorithmsOf(spec, usage)],
    aliases: [...aliases],
    ...{ description, tags: { ...tags }, createdAt },
    rotation:
      rotation === null
        ? null
        : { periodDays: rotation.periodDays, nextRotationAt: rotation.nextAt.toISOString() },
    deletionAt: deletionAt === null ? null : deletionAt.toISOString(),
  }
}

/** A key with its aliases, as it goes over the wire. */
export async function describedKey(
  service: KmsService,
  tx: StoreTransaction,
  key: KeyDescription,
): Promise<Static<typeof answers.key>> {
  return keyJson(key, await service.keys.aliases.of(tx, key.keyId))
}

const PAGE = 100

/** The page of a list that a query asks for. @throws KmsError MALFORMED */
export function pageOf(request: FastifyRequest): {
  readonly after: string | undefined
  readonly limit: number
} {
  const { after, limit = String(PAGE) } = { ...(request.query as Record<string, unknown>) }
  const isLimit = typeof limit === 'string' && /^[1-9]\d{0,3}$/.test(limit)
  if (!isLimit || Number(limit) > MAX_PAGE) {
    throw new KmsError('MALFORMED', `limit is a whole number from 1 to ${MAX_PAGE}`)
  }
  if (after !== undefined && typeof after !== 'string') {
    throw new KmsError('MALFORMED', 'after: wanted what the page before gave as next')
  }
  return { after, limit: Number(limit) }
}
