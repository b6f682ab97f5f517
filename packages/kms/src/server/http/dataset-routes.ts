import type { Static } from '@sinclair/typebox'
import type { FastifyInstance } from 'fastify'
import { type answers, requests } from '../../protocol/messages.ts'
import { parsePublicKey } from '../../protocol/public-key.ts'
import { hexId, parseAs } from '../../protocol/schema.ts'
import { headJson } from '../release/release.ts'
import type { KmsService } from '../service.ts'
import { getHead, moveHead } from '../store/index.ts'
import { idOf, ownerAct, ownerRead, requireOwner } from './owner.ts'

type Reply<Name extends keyof typeof answers> = Promise<Static<(typeof answers)[Name]>>

/** Routes of datasets' heads, as their owners move them. */
export function datasetRoutes(app: FastifyInstance, service: KmsService): void {
  app.get('/v1/datasets/:id/head', async (request): Reply<'head'> => {
    const datasetId = idOf(request, hexId)
    const head = await ownerRead(service, request, async (tx, owner) => {
      const found = await getHead(tx, datasetId)
      if (found !== undefined) requireOwner(owner, found.owner)
      return found
    })
    return { head: head === undefined ? null : headJson(head) }
  })

  app.post('/v1/datasets/:id/head', async (request): Reply<'head'> => {
    const datasetId = idOf(request, hexId)
    const { expected, next } = parseAs('request', requests.moveHead, request.body)
    parsePublicKey('writer key', next.writerKey)
    const details = { datasetId, version: next.version, manifestDigest: next.manifestDigest }
    const { value } = await ownerAct(service, request, 'move-head', details, (tx, owner) =>
      moveHead(tx, { datasetId, owner, expected, next }),
    )
    return { head: headJson(value) }
  })
}
