import { generateKeyPairSync, type KeyObject, randomBytes } from 'node:crypto'
import {
  type Collateral,
  isSnpReport,
  reportDataFor,
  type SnpCollateral,
  type Tee,
  verifyToken,
} from '@cloister/attestation'
import type { Dek, Slot } from '@cloister/sealed'
import { decodeJwt } from 'jose'
import { parseCollateral, parseSnpCollateral } from '../protocol/collateral.ts'
import { fromBase64Url, sha256, toBase64Url, toHex } from '../protocol/encoding.ts'
import { type JobStatement, jobDigest } from '../protocol/job-statement.ts'
import { JWS_TYPES, signJws } from '../protocol/jws.ts'
import type { EarlierRelease, Head, HeadPosition, HeadsMoved } from '../protocol/messages.ts'
import { encodePublicKey, parsePublicKey } from '../protocol/public-key.ts'
import { slotToJson } from '../protocol/slot.ts'
import { headsTranscript, releaseTranscript } from '../protocol/transcript.ts'
import { KmsConnectionError } from './connection-error.ts'
import type { KmsClient } from './kms-client.ts'
import { requireContinued, type SeenLog, verifySeenLog } from './log-history.ts'
import { openReleasedKeys, verifyHeadsMoved, verifyReleased } from './statements.ts'
import { encodeSession, parseSession } from './suspended-session.ts'

/** What an {@link AttestedSession} is made from. */
export interface AttestOptions {
  readonly client: KmsClient
  /** What the instance runs in; the key service derives it anew from the root that verified. */
  readonly tee: Tee
  readonly job: JobStatement
  /** Has the platform quote, or report, 64 bytes of report data. */
  readonly quoteFor: (reportData: Uint8Array) => Promise<Uint8Array>
}

/** A file of an input dataset whose key is asked for. */
export interface InputPart {
  readonly fileId: string
  /** SHA-256 of the file's fixed part, hexadecimal. */
  readonly fixedDigestHex: string
  readonly slot: Slot
}

/** A file of an output dataset that is to get a fresh key. */
export interface OutputPart {
  readonly fileId: string
  /** SHA-256 of the file's fixed part, hexadecimal. */
  readonly fixedDigestHex: string
}

/** What a release asks for: parts by dataset id, of the datasets that the job names. */
export interface ReleaseParts {
  readonly inputs: ReadonlyMap<string, readonly InputPart[]>
  readonly outputs: ReadonlyMap<string, readonly OutputPart[]>
  /**
   * Of a job that runs as several instances: the run, 32 hexadecimal digits, whose secret is asked
   * for. Parts of every dataset of the job must be asked for with it.
   */
  readonly runId?: string
}

/** What was released, all of it verified. */
export interface ReleasedKeys {
  /** By file id. */
  readonly inputs: ReadonlyMap<string, Dek>
  /** By file id. */
  readonly outputs: ReadonlyMap<string, { readonly dek: Dek; readonly slot: Slot }>
  /** By dataset id, of inputs and outputs; `null` for a dataset that has none yet. */
  readonly heads: ReadonlyMap<string, Head | null>
  /** What the instances of the run have in common, where it was asked for: 32 secret bytes. */
  readonly runSecret: Dek | undefined
  /** Compact JWS by the key service, as it came. */
  readonly statement: string
  readonly at: Date
}

/** One output dataset's new version; the writer is the instance. */
export interface HeadMove {
  readonly datasetId: string
  readonly expected: HeadPosition | null
  readonly next: HeadPosition
}

/** What moving heads was answered with, all of it verified. */
export interface CommittedHeads {
  readonly statement: HeadsMoved
  /** Compact JWS by the key service, as it came. */
  readonly statementJws: string
}

/** What the instance was attested with, for its receipt. */
export interface SessionEvidence {
  /** base64url. */
  readonly challenge: string
  readonly quote: Uint8Array
  readonly collateral: Collateral | SnpCollateral
  readonly token: string
}

/** A release as the instance saw it. */
export interface SeenRelease {
  readonly transcript: string
  /** Index of its audit row. */
  readonly row: number
  readonly log: SeenLog
}

/**
 * An instance's side of the protocol. Its two private keys are made here, and leave in no way but
 * {@link AttestedSession.suspend}; nothing the key service answers is used before its statement and transcript verified.
 */
export class AttestedSession {
  readonly job: JobStatement
  /** What the instance was attested with. */
  readonly evidence: SessionEvidence
  /** Signs requests, manifests and receipts: P-256, private. */
  readonly signKey: KeyObject
  /** Public half of {@link signKey}, SubjectPublicKeyInfo in base64url: the writer key of outputs. */
  readonly writerKey: string
  readonly #client: KmsClient
  readonly #receiveKey: KeyObject
  #release: SeenRelease | undefined

  private constructor(
    options: Pick<AttestOptions, 'client' | 'job'>,
    keys: { readonly signKey: KeyObject; readonly receiveKey: KeyObject },
    evidence: SessionEvidence,
  ) {
    this.job = options.job
    this.evidence = evidence
    this.signKey = keys.signKey
    this.writerKey = encodePublicKey(keys.signKey)
    this.#client = options.client
    this.#receiveKey = keys.receiveKey
  }

  /**
   * Attests: takes a challenge, has the platform quote what binds it to two fresh keys and the job,
   * and takes the token.
   * @throws KmsError what the key service refused
   * @throws KmsConnectionError
   */
  static async attest(options: AttestOptions): Promise<AttestedSession> {
    const { client, job, tee, quoteFor } = options
    const keys = { signKey: newKey(), receiveKey: newKey() }
    const receiveKey = encodePublicKey(keys.receiveKey)
    const signKey = encodePublicKey(keys.signKey)
    const challenge = await client.challenge()
    const reportData = reportDataFor({
      protocol: 'cloister/attest-release',
      version: 1,
      tee,
      kmsId: client.pin.kmsId,
      challenge: fromBase64Url('challenge', challenge),
      receiveKey: fromBase64Url('receiving key', receiveKey),
      signKey: fromBase64Url('signing key', signKey),
      jobDigest: jobDigest(job),
    })
    const quote = await quoteFor(reportData)
    const encodedQuote = toBase64Url(quote)
    const answer = await client.attest({
      challenge,
      tee,
      quote: encodedQuote,
      job,
      receiveKey,
      signKey,
      tokenVersion: 2,
    })
    await requireOwnToken(client, answer.token, signKey)
    const collateral = isSnpReport(quote)
      ? parseSnpCollateral(answer.collateral)
      : parseCollateral(answer.collateral)
    const evidence = { challenge, quote, collateral, token: answer.token }
    return new AttestedSession({ client, job }, keys, evidence)
  }

  /**
   * Goes on with a session that another process of the same enclave left, after its release.
   * @param suspended - What {@link suspend} gave.
   * @throws KmsError MALFORMED when it is none, or that of another key service or job
   */
  static resume(
    { client, job }: Pick<AttestOptions, 'client' | 'job'>,
    suspended: Uint8Array,
  ): AttestedSession {
    const { kmsId } = client.pin
    const { evidence, release, ...keys } = parseSession({ kmsId, job }, suspended)
    const session = new AttestedSession({ client, job }, keys, evidence)
    session.#release = release
    return session
  }

  /**
   * The session as bytes, for a process of the same enclave that comes after this one. **Both private
   * keys are in them**: whoever reads them is this instance to the key service.
   * @throws TypeError before a release
   */
  suspend(): Uint8Array {
    const { signKey, evidence, job } = this
    const release = this.#releaseBefore()
    const state = { signKey, receiveKey: this.#receiveKey, evidence, release }
    return encodeSession({ kmsId: this.#client.pin.kmsId, job }, state)
  }

  /**
   * Asks for the keys of input parts and for fresh keys of output parts. May be called again while
   * the token lives.
   * @throws KmsError what the key service refused, with every reason
   * @throws KmsConnectionError STATEMENT when the answer is not the key service's about this request
   */
  async release(parts: ReleaseParts): Promise<ReleasedKeys> {
    return await this.#ask(parts, parts.runId === undefined ? {} : { runId: parts.runId })
  }

  /**
   * Asks for fresh keys of further output parts, which may be long after the token has expired.
   * @throws KmsError, KmsConnectionError as {@link release}
   */
  async releaseOutputs(outputs: ReleaseParts['outputs']): Promise<ReleasedKeys> {
    const continues = this.#earlierRelease(this.#releaseBefore())
    return await this.#ask({ inputs: new Map(), outputs }, { continues })
  }

  async #ask(
    parts: ReleaseParts,
    more: { readonly continues?: EarlierRelease; readonly runId?: string },
  ): Promise<ReleasedKeys> {
    const { kmsId } = this.#client.pin
    const receiveKey = encodePublicKey(this.#receiveKey)
    const request = await signJws(
      JWS_TYPES.release,
      {
        ...this.#requestHead(receiveKey),
        inputs: [...parts.inputs].map(([datasetId, files]) => ({
          datasetId,
          parts: files.map(({ fileId, fixedDigestHex, slot }) => ({
            fileId,
            fixedDigestHex,
            slot: slotToJson(slot),
          })),
        })),
        outputs: [...parts.outputs].map(([datasetId, files]) => ({
          datasetId,
          cmkId: this.#outputKey(datasetId),
          parts: files.map(({ fileId, fixedDigestHex }) => ({ fileId, fixedDigestHex })),
        })),
        ...more,
      },
      this.signKey,
    )
    const transcript = releaseTranscript({
      challenge: this.evidence.challenge,
      quoteDigest: sha256(this.evidence.quote),
      jobDigest: jobDigest(this.job),
      receiveKey,
      signKey: this.writerKey,
      token: this.evidence.token,
      request,
    })
    const statement = await this.#client.release(request)
    const released = await verifyReleased(statement, this.#client.pin, transcript, parts, this.job)
    const keys = await openReleasedKeys(released.keys, this.#receiveKey, parts, kmsId, this.job)
    const { checkpoint, logKey, proofs } = released
    // The first: later requests name it, since the token was valid then, and what the log is at the
    // end must continue what it was, whatever came between.
    this.#release ??= { transcript, row: proofs[0].index, log: { logKey, checkpoint } }
    return {
      ...keys,
      heads: new Map(Object.entries(released.heads)),
      statement,
      at: new Date(released.at),
    }
  }

  /**
   * Moves the heads of output datasets, all or none, and takes the proofs that this act and the
   * release before it stand in an audit log that has only grown since.
   * @throws KmsError HEAD_CONFLICT when another writer was first, or what else was refused
   * @throws KmsConnectionError STATEMENT when the answer is not the key service's about this request;
   * LOG_HISTORY when the audit log is no continuation of what it was at the release
   */
  async commitHeads(moves: readonly HeadMove[]): Promise<CommittedHeads> {
    const release = this.#releaseBefore()
    const { kmsId } = this.#client.pin
    const signed = moves.map(({ datasetId, expected, next }) => ({
      datasetId,
      expected: expected && { version: expected.version, manifestDigest: expected.manifestDigest },
      next: {
        version: next.version,
        manifestDigest: next.manifestDigest,
        writerKey: this.writerKey,
      },
    }))
    const request = await signJws(
      JWS_TYPES.heads,
      {
        ...this.#requestHead(encodePublicKey(this.#receiveKey)),
        moves: signed,
        ...this.#earlierRelease(release),
      },
      this.signKey,
    )
    const statementJws = await this.#client.commitHeads(request)
    const statement = await verifyHeadsMoved(statementJws, this.#client.pin, {
      transcript: headsTranscript(request),
      releaseTranscript: release.transcript,
      releaseIndex: release.row,
      heads: signed.map(({ datasetId, next }) => ({ datasetId, ...next })),
    })
    requireContinued(kmsId, release.log, statement, statement.consistency)
    return { statement, statementJws }
  }

  #releaseBefore(): SeenRelease {
    if (this.#release !== undefined) return this.#release
    throw new TypeError('results are sealed and heads are moved after a release, not before')
  }

  #earlierRelease({ row, log }: SeenRelease): EarlierRelease {
    return { releaseIndex: row, logSize: verifySeenLog(log, this.#client.pin.kmsId).size }
  }

  #requestHead(receiveKey: string) {
    return {
      kmsId: this.#client.pin.kmsId,
      token: this.evidence.token,
      jti: randomBytes(16).toString('base64url'),
      job: this.job,
      receiveKey,
      quoteDigestHex: toHex(sha256(this.evidence.quote)),
    }
  }

  #outputKey(datasetId: string): string {
    const output = this.job.outputs.find(candidate => candidate.datasetId === datasetId)
    if (output === undefined) throw new TypeError(`the job has no output dataset ${datasetId}`)
    return output.cmkId
  }
}

function newKey(): KeyObject {
  return generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey
}

/** The token must be the pinned key service's and for this instance's key. */
async function requireOwnToken(client: KmsClient, token: string, signKey: string): Promise<void> {
  const { identityKey, kmsId } = client.pin
  const key = parsePublicKey('identity key', identityKey)
  const claims = await verifyToken({ token, kmsId, key, at: issuedAt(token) }).catch(
    (cause: unknown) => {
      throw new KmsConnectionError('STATEMENT', 'the token is not by the pinned key service', {
        cause,
      })
    },
  )
  if (toBase64Url(claims.instanceKey) !== signKey) {
    throw new KmsConnectionError('STATEMENT', 'the token is for another instance')
  }
}

/** Time is the key service's: the host that this runs on can set the clock as it likes. */
function issuedAt(token: string): Date {
  try {
    return new Date((decodeJwt(token).iat ?? Number.NaN) * 1000)
  } catch (cause) {
    throw new KmsConnectionError('STATEMENT', 'the token is none', { cause })
  }
}
