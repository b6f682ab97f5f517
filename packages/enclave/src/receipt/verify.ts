import { createHash } from 'node:crypto'
import {
  isDebugEnclave,
  type QuoteClaims,
  type TcbStatus,
  type Tee,
  type TrustRoot,
  type Verified,
  type VerifiedToken,
  verifyEvidence,
  verifyReportData,
  verifyToken,
} from '@cloister/attestation'
import {
  type HeadsMoved,
  headsTranscript,
  type JobStatement,
  JWS_TYPES,
  jobDigest,
  kmsIdOf,
  parseCollateral,
  parseJobStatement,
  parsePublicKey,
  releaseTranscript,
  verifyHeadsMoved,
  verifyJws,
} from '@cloister/kms'
import { type Static, type TSchema, Type } from '@sinclair/typebox'
import { Value } from '@sinclair/typebox/value'
import { decodeJwt } from 'jose'
import { ReceiptError, type ReceiptErrorCode } from './errors.ts'
import { openReceipt, type ReceiptPayload, type SignedReceipt } from './format.ts'

/** What a verifier trusts. Neither list says more by being empty: nothing is then trusted. */
export interface VerifyReceiptOptions {
  /** Roots that platforms may lead up to. */
  readonly roots: readonly TrustRoot[]
  /** Identity keys of the key services that are believed: SubjectPublicKeyInfo, base64url. */
  readonly kmsIdentityKeys: readonly string[]
}

/** What ran, where, on what, as an attested instance and a key service say it. */
export interface ReceiptSummary {
  /** From the root that verified. `sim` protected nothing from the host. */
  readonly tee: Tee
  /** MRENCLAVE, 64 hexadecimal digits. */
  readonly measurement: string
  /** MRSIGNER, 64 hexadecimal digits. */
  readonly mrSigner: string
  readonly isvProdId: number
  readonly isvSvn: number
  /** Whether the host could read the instance's memory. */
  readonly debug: boolean
  readonly tcbStatus: TcbStatus
  readonly advisoryIds: readonly string[]
  readonly job: JobStatement
  /** 64 hexadecimal digits. */
  readonly jobDigest: string
  /** Digest of the appraisal policy, 64 hexadecimal digits. */
  readonly policyDigest: string
  readonly kmsId: string
  readonly inputs: ReceiptPayload['inputs']
  readonly outputs: ReceiptPayload['outputs']
  readonly statistics: ReceiptPayload['statistics']
  /** The instance's signing key, which is the writer key of its outputs. */
  readonly writerKey: string
  /** By the key service's clock. */
  readonly attestedAt: Date
  /** When the heads moved, by the key service's clock. */
  readonly completedAt: Date
  /** Row of the key service's audit log that tells of the release. */
  readonly releaseIndex: number
}

/**
 * Verifies a receipt offline, as of the time it was made: own signature; token of a believed key
 * service; evidence under a pinned root, by the collateral inside; its binding to the signer and the
 * job; both requests; the key service's statement, checkpoint and proofs; datasets. Reads no clock
 * and no network.
 * @throws ReceiptError
 */
export async function verifyReceipt(
  jws: string,
  options: VerifyReceiptOptions,
): Promise<ReceiptSummary> {
  const receipt = await openReceipt(jws)
  const { payload, signKey } = receipt
  const identityKey = believedKms(payload.kmsId, options.kmsIdentityKeys)
  const job = await orThrow('JOB', 'the job', () => parseJobStatement(payload.job))
  const token = await verifiedToken(receipt, identityKey)
  const release = await signedBy(receipt, 'release', payload.releaseRequest)
  const heads = await signedBy(receipt, 'heads', payload.headsRequest)
  const evidence = await verifiedEvidence(receipt, options.roots, token, release)
  requireSame('JOB', 'digest of the job', hex(jobDigest(job)), payload.jobDigest)
  requireSame('JOB', 'job digest of the token', payload.jobDigest, hex(token.jobDigest))
  if (evidence.kind !== 'enclave') {
    throw new ReceiptError('EVIDENCE', 'the evidence is of a TD, and instances are enclaves')
  }
  const measured = hex(evidence.report.mrEnclave)
  requireSame('MEASUREMENT', 'measurement of the evidence', payload.measurement, measured)
  requireSame('MEASUREMENT', 'measurement of the job', payload.measurement, job.measurement)
  requireSame('TOKEN', 'policy digest', payload.policyDigest, hex(token.policyDigest))
  const moved = await verifiedStatement(receipt, identityKey, token, { release, heads })
  requireDatasets(payload, job, moved, heads)
  return {
    tee: evidence.tee,
    measurement: measured,
    mrSigner: hex(evidence.report.mrSigner),
    isvProdId: evidence.report.isvProdId,
    isvSvn: evidence.report.isvSvn,
    debug: isDebugEnclave(evidence),
    tcbStatus: evidence.tcbStatus,
    advisoryIds: evidence.advisoryIds,
    job,
    jobDigest: payload.jobDigest,
    policyDigest: payload.policyDigest,
    kmsId: payload.kmsId,
    inputs: payload.inputs,
    outputs: payload.outputs,
    statistics: payload.statistics,
    writerKey: signKey,
    attestedAt: token.issuedAt,
    completedAt: new Date(moved.at),
    releaseIndex: heads.releaseIndex,
  }
}

function believedKms(kmsId: string, identityKeys: readonly string[]): string {
  const identityKey = identityKeys.find(key => kmsIdOf(key) === kmsId)
  if (identityKey === undefined) {
    throw new ReceiptError('KMS', `key service ${kmsId} is none of those believed`)
  }
  return identityKey
}

async function verifiedToken(
  { payload, signKey }: SignedReceipt,
  identityKey: string,
): Promise<VerifiedToken> {
  const { kmsId, token } = payload
  const claims = await orThrow('TOKEN', 'the token', async () => {
    // As of when it was issued: that instant is part of what its signature covers.
    const at = new Date((decodeJwt(token).iat ?? Number.NaN) * 1000)
    return await verifyToken({ token, kmsId, key: parsePublicKey('identity key', identityKey), at })
  })
  requireSame('TOKEN', 'instance key of the token', signKey, base64url(claims.instanceKey))
  return claims
}

const requestSchemas = {
  release: Type.Object({
    kmsId: Type.String(),
    token: Type.String(),
    receiveKey: Type.String(),
    quoteDigestHex: Type.String(),
  }),
  heads: Type.Object({
    kmsId: Type.String(),
    token: Type.String(),
    receiveKey: Type.String(),
    quoteDigestHex: Type.String(),
    releaseIndex: Type.Integer(),
    moves: Type.Array(
      Type.Object({
        datasetId: Type.String(),
        next: Type.Object({
          version: Type.Integer(),
          manifestDigest: Type.String(),
          writerKey: Type.String(),
        }),
      }),
    ),
  }),
} as const

type Request<Kind extends keyof typeof requestSchemas> = Static<(typeof requestSchemas)[Kind]>

/** A request that the receipt's own signer made, with the receipt's own token. */
async function signedBy<Kind extends keyof typeof requestSchemas>(
  { payload, signKey }: SignedReceipt,
  kind: Kind,
  jws: string,
): Promise<Request<Kind>> {
  const request = await orThrow('REQUEST', `the ${kind} request`, async () => {
    const verified = await verifyJws(JWS_TYPES[kind], jws)
    requireSame('REQUEST', `signer of the ${kind} request`, signKey, verified.signKey)
    return parseAs(requestSchemas[kind], verified.payload)
  })
  const { kmsId, token, quoteDigestHex } = request as Request<'release'>
  requireSame('REQUEST', `key service of the ${kind} request`, payload.kmsId, kmsId)
  requireSame('REQUEST', `token of the ${kind} request`, payload.token, token)
  const quoteDigest = hex(sha256(fromBase64url(payload.evidence.quote)))
  requireSame('REQUEST', `quote of the ${kind} request`, quoteDigest, quoteDigestHex)
  return request
}

async function verifiedEvidence(
  { payload, signKey }: SignedReceipt,
  roots: readonly TrustRoot[],
  token: VerifiedToken,
  { receiveKey }: Request<'release'>,
): Promise<Verified<QuoteClaims>> {
  const evidence = await orThrow('EVIDENCE', 'the evidence', () =>
    verifyEvidence({
      evidence: fromBase64url(payload.evidence.quote),
      collateral: parseCollateral(payload.evidence.collateral),
      roots,
      at: token.issuedAt,
    }),
  )
  await orThrow('BINDING', 'the report data', () =>
    verifyReportData(evidence, {
      protocol: 'cloister/attest-release',
      version: 1,
      tee: evidence.tee,
      kmsId: payload.kmsId,
      challenge: token.challenge,
      receiveKey: fromBase64url(receiveKey),
      signKey: fromBase64url(signKey),
      jobDigest: Buffer.from(payload.jobDigest, 'hex'),
    }),
  )
  requireSame('TOKEN', 'TEE of the token', evidence.tee, token.tee)
  requireSame('TOKEN', 'TCB status of the token', evidence.tcbStatus, token.tcbStatus)
  return evidence
}

const rowSchema = Type.Object({
  action: Type.String(),
  outcome: Type.String(),
  jobDigest: Type.String(),
  tokenId: Type.String(),
})

/** The key service's word that it released keys for this job and moved these heads. */
async function verifiedStatement(
  { payload, signKey }: SignedReceipt,
  identityKey: string,
  token: VerifiedToken,
  requests: { readonly release: Request<'release'>; readonly heads: Request<'heads'> },
): Promise<HeadsMoved> {
  const moved = await orThrow('STATEMENT', 'the statement', async () =>
    verifyHeadsMoved(
      payload.headsStatement,
      { kmsId: payload.kmsId, identityKey },
      {
        transcript: headsTranscript(payload.headsRequest),
        releaseTranscript: releaseTranscript({
          challenge: base64url(token.challenge),
          quoteDigest: sha256(fromBase64url(payload.evidence.quote)),
          jobDigest: token.jobDigest,
          receiveKey: requests.release.receiveKey,
          signKey,
          token: payload.token,
          request: payload.releaseRequest,
        }),
        releaseIndex: requests.heads.releaseIndex,
        heads: requests.heads.moves.map(({ datasetId, next }) => ({ datasetId, ...next })),
      },
    ),
  )
  const outcomes = ['released', 'done']
  for (const [index, { leaf }] of moved.proofs.entries()) {
    const row = await orThrow('STATEMENT', 'the audit row', () =>
      parseAs(rowSchema, JSON.parse(leaf)),
    )
    requireSame('STATEMENT', 'outcome of the audit row', outcomes[index] ?? '', row.outcome)
    requireSame('STATEMENT', 'job of the audit row', payload.jobDigest, row.jobDigest)
    requireSame('STATEMENT', 'token of the audit row', token.tokenId, row.tokenId)
  }
  return moved
}

/** Inputs are those of the job, at its versions; outputs are those whose heads moved. */
function requireDatasets(
  { inputs, outputs }: ReceiptPayload,
  job: JobStatement,
  moved: HeadsMoved,
  { moves }: Request<'heads'>,
): void {
  const place = ({
    name,
    datasetId,
    version,
  }: (typeof inputs)[number] | JobStatement['inputs'][number]) => `${name} ${datasetId} ${version}`
  const lines = (texts: readonly string[]) => [...texts].sort().join('\n')
  requireSame('DATASETS', 'inputs', lines(job.inputs.map(place)), lines(inputs.map(place)))
  const named = (output: { readonly name: string; readonly datasetId: string }) =>
    `${output.name} ${output.datasetId}`
  requireSame('DATASETS', 'outputs', lines(job.outputs.map(named)), lines(outputs.map(named)))
  requireSame('DATASETS', 'number of moved heads', `${outputs.length}`, `${moves.length}`)
  for (const { datasetId, version, manifestDigest } of outputs) {
    const head = moved.heads[datasetId]
    const seen = `${version} ${manifestDigest}`
    requireSame(
      'DATASETS',
      `head of ${datasetId}`,
      `${head?.version} ${head?.manifestDigest}`,
      seen,
    )
  }
}

function parseAs<T extends TSchema>(schema: T, value: unknown): Static<T> {
  if (Value.Check(schema, value)) return value
  const first = Value.Errors(schema, value).First()
  throw new TypeError(`${first?.path || '/'}: ${first?.message ?? 'not what it should be'}`)
}

function requireSame(code: ReceiptErrorCode, what: string, wanted: string, seen: string): void {
  if (wanted !== seen) throw new ReceiptError(code, `${what}: wanted ${wanted}, saw ${seen}`)
}

async function orThrow<T>(
  code: ReceiptErrorCode,
  what: string,
  verify: () => T | Promise<T>,
): Promise<T> {
  try {
    return await verify()
  } catch (cause) {
    if (cause instanceof ReceiptError) throw cause
    const detail = cause instanceof Error ? `: ${cause.message}` : ''
    throw new ReceiptError(code, `${what} does not hold${detail}`, { cause })
  }
}

function fromBase64url(text: string): Uint8Array {
  return new Uint8Array(Buffer.from(text, 'base64url'))
}

function base64url(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('base64url')
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex')
}

function sha256(bytes: Uint8Array): Uint8Array {
  return new Uint8Array(createHash('sha256').update(bytes).digest())
}
