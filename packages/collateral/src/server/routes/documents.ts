import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { Entry } from '../../documents/document-cache.ts'
import {
  type DocumentName,
  type Edition,
  FMSPC_PLATFORMS,
  ROOT_CA_CRL,
} from '../../documents/name.ts'
import {
  type Answer,
  evaluationNumbersAnswer,
  fmspcsAnswer,
  identityAnswer,
  type ListEncoding,
  pckCrlAnswer,
  rootCaCrlAnswer,
  tcbInfoAnswer,
} from '../answers.ts'
import { documentOfUri } from '../distribution-point.ts'
import { PccsError } from '../pccs-error.ts'
import { Query } from '../query.ts'
import { ReadyAnswers } from '../ready-answers.ts'
import type { PccsService } from '../service.ts'

type Ask = (query: Query) => {
  readonly name: DocumentName
  /** Tells apart the answers that one document gives. */
  readonly form?: string
  readonly answer: (entry: Entry) => Answer
}

/** Routes of what the vendor signs, the same for all platforms: no token is wanted. */
export function documentRoutes(app: FastifyInstance, service: PccsService): void {
  const { documents } = service
  const answers = new ReadyAnswers()

  const get = (path: string, ask: Ask) => {
    app.get(path, (request: FastifyRequest, reply: FastifyReply) => {
      const { name, form = '', answer } = ask(new Query(request.query))
      const ready = documents.ready(name)
      if (ready !== undefined) return send(reply, answers.of(ready, form, answer))
      return documents.get(name).then(entry => {
        // As of HTTP caches: whoever asks may want to know that it serves by grace.
        if (documents.isStale(entry)) reply.header('Warning', '110 - "Response is Stale"')
        return send(reply, answers.of(entry, form, answer))
      })
    })
  }

  for (const api of [3, 4] as const) {
    const sgx = `/sgx/certification/v${api}`
    get(`${sgx}/tcb`, query => tcbInfoOf('sgx', query, api))
    get(`${sgx}/qe/identity`, query => identityOf('QE', query))
    get(`${sgx}/qve/identity`, query => identityOf('QVE', query))
    get(`${sgx}/pckcrl`, pckCrlOf)
    get(`${sgx}/rootcacrl`, () => rootCaCrlAs('hex'))
    get(`${sgx}/crl`, listAtUri)
  }
  const [sgx, tdx] = ['/sgx/certification/v4', '/tdx/certification/v4']
  get(`${sgx}/qae/identity`, query => identityOf('QAE', query))
  get(`${sgx}/fmspcs`, fmspcsOf)
  get(`${sgx}/tcbevaluationdatanumbers`, () => evaluationNumbersOf('sgx'))
  get(`${tdx}/tcb`, query => tcbInfoOf('tdx', query, 4))
  get(`${tdx}/qe/identity`, query => identityOf('TD_QE', query))
  get(`${tdx}/tcbevaluationdatanumbers`, () => evaluationNumbersOf('tdx'))
}

/** Sends what is ready, past the framework: nothing is left for it to look at. */
export function send(reply: FastifyReply, { head, body }: Answer): FastifyReply {
  const own = Object.entries(reply.getHeaders()).flatMap(([name, value]) => [name, String(value)])
  const { raw } = reply.hijack()
  raw.writeHead(200, [...own, ...head])
  raw.end(body, 'latin1')
  return reply
}

function tcbInfoOf(tee: 'sgx' | 'tdx', query: Query, api: 3 | 4): ReturnType<Ask> {
  const fmspc = query.hex('fmspc', 12).toLowerCase()
  return {
    name: { kind: 'tcbInfo', tee, fmspc, edition: editionOf(query), api },
    answer: entry => tcbInfoAnswer(entry, api),
  }
}

function identityOf(of: 'QE' | 'TD_QE' | 'QVE' | 'QAE', query: Query): ReturnType<Ask> {
  return { name: { kind: 'identity', of, edition: editionOf(query) }, answer: identityAnswer }
}

function pckCrlOf(query: Query): ReturnType<Ask> {
  const ca = query.oneOf('ca', ['processor', 'platform'])
  // Without a word for it, caches give hexadecimal digits.
  const form: ListEncoding = query.oneOf('encoding', ['der', 'pem', 'hex'], 'hex')
  return { name: { kind: 'pckCrl', ca }, form, answer: entry => pckCrlAnswer(entry, form) }
}

function rootCaCrlAs(form: ListEncoding): ReturnType<Ask> {
  return { name: ROOT_CA_CRL, form, answer: entry => rootCaCrlAnswer(entry, form) }
}

function listAtUri(query: Query): ReturnType<Ask> {
  const name = documentOfUri(query.raw('uri') ?? '')
  if (name.kind === 'rootCaCrl') return rootCaCrlAs('der')
  return { name, form: 'der', answer: entry => pckCrlAnswer(entry, 'der') }
}

function fmspcsOf(query: Query): ReturnType<Ask> {
  const platform = query.oneOf('platform', FMSPC_PLATFORMS, 'all')
  return { name: { kind: 'fmspcs', platform }, answer: fmspcsAnswer }
}

function evaluationNumbersOf(tee: 'sgx' | 'tdx'): ReturnType<Ask> {
  return { name: { kind: 'evaluationNumbers', tee }, answer: evaluationNumbersAnswer }
}

/** A set by its number, or else the current one or the newest. */
function editionOf(query: Query): Edition {
  const update = query.oneOf('update', ['standard', 'early'], 'standard')
  if (query.text(NUMBER) === undefined) return update
  if (query.text('update') !== undefined) {
    throw new PccsError('INVALID_REQUEST', `wanted update or ${NUMBER}, saw both`)
  }
  return Number(query.matching(NUMBER, /^\d{1,9}$/, 'a whole number'))
}

const NUMBER = 'tcbEvaluationDataNumber'
