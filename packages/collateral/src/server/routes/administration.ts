import type { FastifyInstance } from 'fastify'
import { importBundle } from '../../bundle/import-bundle.ts'
import { readBundle } from '../../bundle/read-bundle.ts'
import { writeBundle } from '../../bundle/write-bundle.ts'
import { PccsError } from '../pccs-error.ts'
import { readPolicy } from '../policies.ts'
import { Query } from '../query.ts'
import { refreshCertificates, refreshDocuments } from '../refresh.ts'
import type { PccsService } from '../service.ts'
import { statusOf } from '../status.ts'
import { adminOnly } from './access.ts'

const MAX_BUNDLE = 64 << 20
const MAX_POLICY = 1 << 20
const DONE = 'Operation successful.'

/** Routes of administrators; policies are handed out to anybody. */
export function administrationRoutes(app: FastifyInstance, service: PccsService): void {
  const onRequest = adminOnly(service)
  const { policies, log } = service

  for (const api of [3, 4] as const) {
    const sgx = `/sgx/certification/v${api}`

    app.put(
      `${sgx}/platformcollateral`,
      { onRequest, bodyLimit: MAX_BUNDLE },
      async (request, reply) => {
        const report = await importBundle(readBundle(request.body), service)
        log.write('imported', { documents: report.documents, platforms: report.platforms })
        return reply.send(report)
      },
    )

    app.route({
      method: ['GET', 'POST'],
      url: `${sgx}/refresh`,
      onRequest,
      handler: async request => {
        const query = new Query(request.query)
        const isCertificates = query.text('type') !== undefined
        if (isCertificates) query.oneOf('type', ['certs'])
        const fmspcs = fmspcsIn(query.text('fmspc') ?? '')
        await (isCertificates
          ? refreshCertificates(service, fmspcs)
          : refreshDocuments(service, { onlyDue: false }))
        return DONE
      },
    })

    app.put(`${sgx}/appraisalpolicy`, { onRequest, bodyLimit: MAX_POLICY }, async request => {
      const policy = readPolicy(request.body)
      if (policy.isDefault) await replaceDefault(service, policy.fmspc, policy.type)
      await policies.put(`${policy.fmspc}-${policy.id}`, policy)
      return policy.id
    })

    app.get(`${sgx}/appraisalpolicy`, async request => {
      const fmspc = new Query(request.query).hex('fmspc', 12)
      const found: string[] = []
      for await (const [, one] of policies.entries()) {
        if (one.fmspc === fmspc && one.isDefault) found.push(one.policy)
      }
      if (found.length === 0) throw new PccsError('NO_DATA', 'no default policy for this FMSPC')
      return found.join(',')
    })
  }

  app.get('/status', { onRequest }, async () => await statusOf(service))
  app.get('/bundle', { onRequest }, async () => {
    const { bundle } = await writeBundle(service)
    return bundle
  })
}

/** One policy is the default for a kind of platform of an FMSPC. */
async function replaceDefault(
  { policies }: PccsService,
  fmspc: string,
  type: string,
): Promise<void> {
  for await (const [key, one] of policies.entries()) {
    const isReplaced = one.fmspc === fmspc && one.type === type && one.isDefault
    if (isReplaced) await policies.put(key, { ...one, isDefault: false })
  }
}

/** `A,B`, with brackets about it or without; all where it is empty. */
function fmspcsIn(text: string): readonly string[] {
  const all = text.replace(/^\[(.*)\]$/, '$1').split(',')
  const fmspcs = all.map(one => one.trim()).filter(one => one !== '' && one !== 'ALL')
  if (!fmspcs.every(one => /^[0-9A-F]{12}$/.test(one))) {
    throw new PccsError('INVALID_REQUEST', 'fmspc: wanted FMSPC,FMSPC,… of 12 digits each')
  }
  return fmspcs
}
