import { TEES } from '@cloister/attestation'
import { MAX_HEADER_LENGTH } from '@cloister/sealed'
import { type Static, Type } from '@sinclair/typebox'
import { jobStatementSchema } from './job-statement.ts'
import { accountAnswers, accountRequests } from './messages/accounts.ts'
import { keyAnswers, keyRequests } from './messages/keys.ts'
import { operationsAnswers } from './messages/operations.ts'
import { policyAnswers, policyRequests } from './messages/policies.ts'
import {
  base64Url,
  cmkId,
  compact,
  hexDigest,
  hexId,
  instant,
  nullable,
  object,
  oneOf,
  spki,
} from './schema.ts'

/** Most parts, over all datasets, in one release request. */
export const MAX_PARTS_PER_REQUEST = 4096

/** A head without the dataset it belongs to: what a move goes from. */
const headPositionSchema = object({
  version: Type.Integer({ minimum: 1, maximum: 2 ** 32 - 1 }),
  manifestDigest: hexDigest,
})

/** What a move goes to. */
const nextHeadSchema = object({
  version: Type.Integer({ minimum: 1, maximum: 2 ** 32 - 1 }),
  manifestDigest: hexDigest,
  writerKey: spki,
})

/** The one current version of a dataset. */
const datasetHeadSchema = object({
  datasetId: hexId,
  version: Type.Integer({ minimum: 1, maximum: 2 ** 32 - 1 }),
  manifestDigest: hexDigest,
  writerKey: spki,
})

/** A slot of a sealed file, its wrapped DEK in base64url. */
const slotSchema = object({
  kmsId: hexDigest,
  cmkId,
  cmkVersion: Type.Integer({ minimum: 0, maximum: 2 ** 32 - 1 }),
  wrappedDek: base64Url(6000),
})

/** The longest header of a sealed file, as base64url. */
const MAX_HEADER_TEXT = Math.ceil((MAX_HEADER_LENGTH * 4) / 3)

/** What a wrapped DEK is bound to, beside its CMK. */
const dekContextSchema = object({
  datasetId: hexId,
  fileId: hexId,
  fixedDigestHex: hexDigest,
})

const dek = Type.String({ pattern: '^[A-Za-z0-9_-]{43}$' })
/** Bodies of requests, by route. */
export const requests = {
  ...keyRequests,
  enrol: object({ token: base64Url(128) }),
  wrap: object({ dek, context: dekContextSchema }),
  unwrap: object({ slot: slotSchema, context: dekContextSchema }),
  rewrap: object({ header: base64Url(MAX_HEADER_TEXT) }),
  moveHead: object({ expected: nullable(headPositionSchema), next: nextHeadSchema }),
  challenge: object({}),
  attest: object({
    challenge: base64Url(256),
    tee: oneOf(TEES),
    /** Quote or report. */
    quote: base64Url(90_000),
    job: jobStatementSchema,
    receiveKey: spki,
    signKey: spki,
    /** The form of the token; the first, which tells of enclaves alone, unless told. */
    tokenVersion: Type.Optional(Type.Literal(2)),
  }),
  signed: object({ jws: compact(8 << 20) }),
  ...accountRequests,
  ...policyRequests,
} as const

/** How a later request names the release that its token was first used for. */
const earlierRelease = {
  /** Index of the release's audit row; a move of heads has its inclusion proven. */
  releaseIndex: Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER }),
  /** Size of the audit log at the release's checkpoint, which later ones are to be consistent with. */
  logSize: Type.Integer({ minimum: 1, maximum: Number.MAX_SAFE_INTEGER }),
} as const

/** Payload of a release request. */
export const releaseRequestSchema = object({
  kmsId: hexDigest,
  token: compact(1 << 15),
  jti: base64Url(64),
  job: jobStatementSchema,
  receiveKey: spki,
  /** SHA-256 of the quote that the token was given for. */
  quoteDigestHex: hexDigest,
  inputs: Type.Array(
    object({
      datasetId: hexId,
      parts: Type.Array(object({ fileId: hexId, fixedDigestHex: hexDigest, slot: slotSchema }), {
        minItems: 1,
        maxItems: MAX_PARTS_PER_REQUEST,
      }),
    }),
    { maxItems: 256 },
  ),
  outputs: Type.Array(
    object({
      datasetId: hexId,
      cmkId,
      parts: Type.Array(object({ fileId: hexId, fixedDigestHex: hexDigest }), {
        minItems: 1,
        maxItems: MAX_PARTS_PER_REQUEST,
      }),
    }),
    { maxItems: 256 },
  ),
  /** Of a request for keys of further output files, which may come after the token has expired. */
  continues: Type.Optional(object(earlierRelease)),
  /** Of a job that runs as several instances: which run of it this instance says it belongs to. */
  runId: Type.Optional(hexId),
})

/** Payload of a heads request. */
export const headsRequestSchema = object({
  kmsId: hexDigest,
  token: compact(1 << 15),
  jti: base64Url(64),
  job: jobStatementSchema,
  receiveKey: spki,
  quoteDigestHex: hexDigest,
  moves: Type.Array(
    object({ datasetId: hexId, expected: nullable(headPositionSchema), next: nextHeadSchema }),
    { maxItems: 256 },
  ),
  ...earlierRelease,
})

const digestPath = Type.Array(base64Url(64), { maxItems: 64 })

/** A signed note (C2SP): origin, size, root hash, signature. */
const checkpointNote = Type.String({ maxLength: 4096 })

/** The key that signs checkpoints: `<name>+<key id>+<base64>`. */
const noteKey = Type.String({ maxLength: 512 })

/** An audit row's place in the log, and the way from it to the checkpoint's root. */
const auditProofSchema = object({
  /** RFC 8785 JSON of the row. */
  leaf: Type.String({ maxLength: 1 << 22 }),
  index: Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER }),
  /** Digests, base64url, leaf to root. */
  path: digestPath,
})

/** Payload of the statement that a release answers with. */
export const releasedSchema = object({
  kmsId: hexDigest,
  transcript: hexDigest,
  keys: compact(8 << 20),
  heads: Type.Record(hexId, nullable(datasetHeadSchema)),
  logKey: noteKey,
  checkpoint: checkpointNote,
  /** Of the release's own row. */
  proofs: Type.Tuple([auditProofSchema]),
  at: instant,
})

/** Payload of the statement that names the key of the audit log's checkpoints. */
export const logKeySchema = object({ kmsId: hexDigest, logKey: noteKey })

/** Payload of the statement that moved heads answer with. */
export const headsMovedSchema = object({
  kmsId: hexDigest,
  transcript: hexDigest,
  heads: Type.Record(hexId, datasetHeadSchema),
  logKey: noteKey,
  checkpoint: checkpointNote,
  /** Of the release's row, then of this act's. */
  proofs: Type.Tuple([auditProofSchema, auditProofSchema]),
  /** From `logSize` of the request to the checkpoint: digests, base64url. */
  consistency: digestPath,
  at: instant,
})

/** What a release's JWE holds. */
export const releasedKeysSchema = object({
  inputs: Type.Record(hexId, dek),
  outputs: Type.Record(hexId, object({ dek, slot: slotSchema })),
  /** Of a request with a run id. */
  runSecret: Type.Optional(dek),
})

/** Endorsements as JSON: members as in PCS collateral, bytes in base64url. */
export const collateralSchema = object({
  pckCrlIssuerChain: Type.String({ maxLength: 1 << 16 }),
  rootCaCrl: base64Url(1 << 20),
  pckCrl: base64Url(1 << 20),
  tcbInfoIssuerChain: Type.String({ maxLength: 1 << 16 }),
  tcbInfo: Type.String({ maxLength: 1 << 20 }),
  tcbInfoSignature: base64Url(128),
  qeIdentityIssuerChain: Type.String({ maxLength: 1 << 16 }),
  qeIdentity: Type.String({ maxLength: 1 << 20 }),
  qeIdentitySignature: base64Url(128),
})

/** Endorsements of SEV-SNP as JSON: AMD's certificates and revocation list. */
export const snpCollateralSchema = object({
  vek: base64Url(1 << 16),
  chain: Type.String({ maxLength: 1 << 16 }),
  crl: base64Url(1 << 20),
})

/** Bodies of answers, by route. Members that are not listed are left alone. */
export const answers = {
  ...keyAnswers,
  kms: Type.Object({ kmsId: hexDigest, identityKey: spki }),
  enrol: Type.Object({ accountId: Type.String(), credential: Type.String() }),
  wrap: Type.Object({ slot: slotSchema }),
  unwrap: Type.Object({ dek }),
  rewrap: Type.Object({ header: base64Url(MAX_HEADER_TEXT) }),
  head: Type.Object({ head: nullable(datasetHeadSchema) }),
  audit: Type.Object({
    entries: Type.Array(
      Type.Object({ index: Type.Integer(), entry: Type.Record(Type.String(), Type.Unknown()) }),
    ),
  }),
  log: Type.Object({
    /** JWS by the identity key. */
    logKey: compact(4096),
    checkpoint: checkpointNote,
    /** From the size asked for to the checkpoint's; empty where the log is no larger. */
    consistency: digestPath,
  }),
  logRows: Type.Object({
    rows: Type.Array(
      Type.Object({
        leafHash: hexDigest,
        /** The row as it is hashed; of a row that does not concern the caller there is only the hash. */
        leaf: Type.Optional(Type.String()),
      }),
    ),
    /** Of the log up to and with the last of these rows. */
    checkpoint: checkpointNote,
    /** That log's complete subtrees' roots, from the left. */
    frontier: Type.Array(hexDigest, { maxItems: 64 }),
  }),
  challenge: Type.Object({ challenge: base64Url(256) }),
  attest: Type.Object({
    token: compact(1 << 15),
    collateral: Type.Union([collateralSchema, snpCollateralSchema]),
  }),
  statement: Type.Object({ statement: compact(16 << 20) }),
  ...accountAnswers,
  ...policyAnswers,
  ...operationsAnswers,
  error: Type.Object({
    code: Type.String(),
    message: Type.String(),
    reasons: Type.Array(
      Type.Object({
        code: Type.String(),
        message: Type.String(),
        wanted: Type.Optional(Type.String()),
        seen: Type.Optional(Type.String()),
        policyId: Type.Optional(Type.String()),
      }),
    ),
  }),
} as const

/** Where a dataset stands. */
export type Head = Static<typeof datasetHeadSchema>
/** Where a move goes from. */
export type HeadPosition = Static<typeof headPositionSchema>
/** Where a move goes to. */
export type NextHead = Static<typeof nextHeadSchema>
/** A slot as JSON. */
export type SlotJson = Static<typeof slotSchema>
/** What a wrapped DEK is bound to, as JSON. */
export type DekContextJson = Static<typeof dekContextSchema>
/** A customer master key, as its owner sees it. */
export type KeyDescription = Static<typeof answers.key>
/** What a release asks for. */
export type ReleaseRequest = Static<typeof releaseRequestSchema>
/** How a later request names the release before it. */
export type EarlierRelease = Pick<HeadsRequest, keyof typeof earlierRelease>
/** What moving heads asks for. */
export type HeadsRequest = Static<typeof headsRequestSchema>
/** What the key service states with released keys. */
export type Released = Static<typeof releasedSchema>
/** What the key service states with moved heads. */
export type HeadsMoved = Static<typeof headsMovedSchema>
/** Proof that a row stands in the audit log. */
export type AuditProof = Static<typeof auditProofSchema>
/** Endorsements of a quote as JSON. */
export type CollateralJson = Static<typeof collateralSchema>
/** Endorsements of a SEV-SNP report as JSON. */
export type SnpCollateralJson = Static<typeof snpCollateralSchema>
/** A row of the audit log with its place. */
export type AuditRow = Static<typeof answers.audit>['entries'][number]
