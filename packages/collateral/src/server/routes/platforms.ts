import type { FastifyInstance } from 'fastify'
import { isHex } from '../../hex.ts'
import type { PckQuestion } from '../../platforms/platforms.ts'
import { documentsFor, prefetch } from '../../platforms/prefetch.ts'
import {
  platformKey,
  QE_ID,
  type Registration,
  readRegistration,
} from '../../platforms/registration.ts'
import { pckAnswer, pcksAnswer } from '../answers.ts'
import { PccsError } from '../pccs-error.ts'
import { PlatformLists } from '../platform-lists.ts'
import { Query } from '../query.ts'
import { ReadyAnswers } from '../ready-answers.ts'
import type { PccsService } from '../service.ts'
import { adminOnly, usersOnly } from './access.ts'
import { send } from './documents.ts'

const MAX_REGISTRATION = 256 * 1024
const DONE = 'Operation successful.'

/** Routes of platforms: their PCK certificates, registration, lists of them. */
export function platformRoutes(app: FastifyInstance, service: PccsService): void {
  const answers = new ReadyAnswers()
  const lists = new PlatformLists(service)
  const registering = { onRequest: usersOnly(service), bodyLimit: MAX_REGISTRATION }
  const listing = { onRequest: adminOnly(service) }

  for (const api of [3, 4] as const) {
    const sgx = `/sgx/certification/v${api}`

    app.get(`${sgx}/pckcert`, async (request, reply) => {
      const chosen = await service.platforms.pckFor(questionOf(new Query(request.query)))
      const { entry, pck } = chosen
      return send(
        reply,
        answers.of(entry, pck.tcbm, () => pckAnswer(chosen)),
      )
    })

    app.get(`${sgx}/pckcerts`, async (request, reply) => {
      const query = new Query(request.query)
      const encryptedPpid = query.hex('encrypted_ppid', 768)
      const about = { pceId: query.hex('pceid', 4), encryptedPpid, platformManifest: '' }
      const entry = await service.platforms.pcksFor(about)
      return send(
        reply,
        answers.of(entry, `v${api}`, one => pcksAnswer(one, api)),
      )
    })

    app.post(`${sgx}/pckcerts`, { bodyLimit: MAX_REGISTRATION }, async (request, reply) => {
      const entry = await service.platforms.pcksFor(manifestOf(request.body))
      return send(
        reply,
        answers.of(entry, `v${api}`, one => pcksAnswer(one, api)),
      )
    })

    app.post(`${sgx}/platforms`, registering, async request => {
      const query = new Query(request.query)
      query.oneOf('update', ['standard', 'early', 'all'], 'standard')
      await register(service, readRegistration(request.body))
      return DONE
    })

    app.get(`${sgx}/platforms`, listing, async (request, reply) => {
      const { rows, handOver } = await lists.of(new Query(request.query).text('source'))
      handOver(reply.raw)
      return reply.header('platform-count', String(rows.length)).send(rows)
    })
  }
}

function questionOf(query: Query): PckQuestion {
  const encryptedPpid = query.text('encrypted_ppid')
  return {
    qeId: query.matching('qeid', QE_ID, 'at most 260 letters and digits'),
    pceId: query.hex('pceid', 4),
    cpuSvn: query.hex('cpusvn', 32),
    pceSvn: query.hex('pcesvn', 4),
    encryptedPpid: encryptedPpid === undefined ? '' : query.hex('encrypted_ppid', 768),
  }
}

function manifestOf(body: unknown) {
  const { platformManifest, pceid }: Readonly<Record<string, unknown>> = {
    ...(typeof body === 'object' ? body : {}),
  }
  if (typeof platformManifest !== 'string' || platformManifest === '' || !isHex(platformManifest)) {
    throw new PccsError('INVALID_REQUEST', 'platformManifest: wanted hexadecimal digits')
  }
  if (typeof pceid !== 'string' || !/^[0-9a-fA-F]{4}$/.test(pceid)) {
    throw new PccsError('INVALID_REQUEST', 'pceid: wanted 4 hexadecimal digits')
  }
  const [manifest, pceId] = [platformManifest, pceid].map(text => text.toUpperCase())
  return { pceId: pceId ?? '', encryptedPpid: '', platformManifest: manifest ?? '' }
}

/** Registers, and gets what verifiers will want for the platform. */
async function register(service: PccsService, registration: Registration): Promise<void> {
  const { platforms, documents, records, mode, log } = service
  await platforms.register(registration)
  if (mode === 'OFFLINE') return
  const { qe_id, pce_id } = registration
  const record = await records.get(platformKey(qe_id, pce_id))
  const missing = await prefetch(documents, documentsFor(record?.fmspc ?? ''))
  log.write('registered', { fmspc: record?.fmspc, missing: [...missing.keys()] })
}
