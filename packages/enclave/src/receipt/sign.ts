import { type AttestedSession, collateralToJson, type Head, jobDigest } from '@cloister/kms'
import type { Manifest } from '@cloister/sealed'
import { decodeJwt } from 'jose'
import { encodeReceipt } from './format.ts'

/** What a receipt is made of. */
export interface ReceiptParts {
  readonly session: AttestedSession
  /** The instance's signed requests, compact JWS. */
  readonly requests: { readonly release: string; readonly heads: string }
  /** The key service's answer to the second, compact JWS. */
  readonly statement: string
  readonly inputs: readonly { readonly name: string; readonly head: Head }[]
  readonly outputs: readonly {
    readonly name: string
    readonly manifest: Manifest
    readonly manifestDigest: string
  }[]
  readonly statistics: Readonly<Record<string, number>>
}

/** Signs the receipt of a job whose heads have moved. */
export async function signReceipt(parts: ReceiptParts): Promise<string> {
  const { session, requests, statement, statistics } = parts
  const { job, evidence, signKey } = session
  // The session has verified its own token already.
  const { iss: kmsId = '', policyDigest } = decodeJwt(evidence.token)
  return await encodeReceipt(
    {
      version: 1,
      kmsId,
      policyDigest: String(policyDigest),
      measurement: job.measurement,
      jobDigest: Buffer.from(jobDigest(job)).toString('hex'),
      job,
      inputs: parts.inputs.map(({ name, head }) => ({ name, ...head })),
      outputs: parts.outputs.map(({ name, manifest, manifestDigest }) => ({
        name,
        datasetId: manifest.datasetId,
        version: manifest.version,
        manifestDigest,
        rows: manifest.parts.some(({ rows }) => rows === null)
          ? null
          : manifest.parts.reduce((sum, { rows }) => sum + (rows ?? 0), 0),
      })),
      statistics: { ...statistics },
      evidence: {
        quote: Buffer.from(evidence.quote).toString('base64url'),
        collateral: collateralToJson(evidence.collateral),
      },
      token: evidence.token,
      releaseRequest: requests.release,
      headsRequest: requests.heads,
      headsStatement: statement,
    },
    signKey,
  )
}
