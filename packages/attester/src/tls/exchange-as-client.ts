import { randomBytes } from 'node:crypto'
import type { TLSSocket } from 'node:tls'
import type { TrustedAppraisal } from '@cloister/attestation'
import type { PeerRequirements } from '../appraise-peer.ts'
import { AttestedTlsError } from '../errors.ts'
import type { QuoteSource } from '../quote-source/quote-source.ts'
import { exporterOf } from './binding.ts'
import {
  ACCEPT_BYTES,
  type Answer,
  assertAccept,
  encodeFrame,
  encodeHello,
  encodeProof,
  MAX_FRAME_BYTES,
  NONCE_BYTES,
  OPENING_BYTES,
  parseAnswer,
} from './frames.ts'
import { appraiseFresh, freshEvidence, type Leaves } from './fresh-evidence.ts'
import { readFrame } from './read-frame.ts'

/** What a client wants of the exchange. */
export interface ClientSide {
  /** What the server must prove; `'nothing'` of one that was known before, by its key. */
  readonly server: PeerRequirements | 'nothing'
  /** Where own evidence comes from, if there is any to give. */
  readonly source: QuoteSource | undefined
  readonly leaves: Leaves
}

/**
 * The client's side of fresh mode. The server proves itself first: own evidence is made for a
 * server that was believed, and for no other.
 * @returns The server's appraisal; undefined where nothing was demanded.
 * @throws AttestedTlsError
 * @see docs/protocols/attested-tls.md
 */
export async function exchangeAsClient(
  socket: TLSSocket,
  { leaves, server, source }: ClientSide,
  deadline: AbortSignal,
): Promise<TrustedAppraisal | undefined> {
  const common = { exporter: exporterOf(socket), serverLeaf: leaves.server }
  const hello = encodeHello({
    demandsEvidence: server !== 'nothing',
    nonce: randomBytes(NONCE_BYTES),
  })
  socket.write(encodeFrame(hello))
  const payload = await readFrame(socket, MAX_FRAME_BYTES, deadline)
  const answer = parseAnswer(payload)

  const said = [hello, payload.subarray(0, OPENING_BYTES)]
  const appraisal =
    server === 'nothing'
      ? assertDemandsAlone(answer)
      : await appraiseFresh(
          evidenceIn(answer),
          { ...common, role: 'server', said },
          server,
          deadline,
        )
  if (!answer.demandsEvidence) return appraisal

  if (source === undefined) {
    throw new AttestedTlsError('OWN_EVIDENCE', 'the server demands evidence, and there is none')
  }
  const own = await freshEvidence(
    source,
    { ...common, role: 'client', clientLeaf: leaves.client, said: [hello, payload] },
    deadline,
  )
  socket.write(encodeFrame(encodeProof(own)))
  await accepted(socket, deadline)
  return appraisal
}

function evidenceIn({ evidence }: Answer) {
  if (evidence !== undefined) return evidence
  throw new AttestedTlsError('EVIDENCE', 'the server gives no evidence')
}

function assertDemandsAlone({ demandsEvidence, evidence }: Answer): undefined {
  if (demandsEvidence && evidence === undefined) return
  throw new AttestedTlsError(
    'PROTOCOL',
    demandsEvidence
      ? 'evidence came that was not demanded'
      : 'neither side demands evidence of the other',
  )
}

async function accepted(socket: TLSSocket, deadline: AbortSignal): Promise<void> {
  let payload: Uint8Array
  try {
    payload = await readFrame(socket, ACCEPT_BYTES, deadline)
  } catch (cause) {
    if (!(socket.destroyed || socket.readableEnded)) throw cause
    const ended = 'the server was given evidence, and ended the connection'
    throw new AttestedTlsError('REFUSED', ended, { cause })
  }
  assertAccept(payload)
}
