import { randomBytes } from 'node:crypto'
import type { TLSSocket } from 'node:tls'
import type { TrustedAppraisal } from '@cloister/attestation'
import type { PeerRequirements } from '../appraise-peer.ts'
import { AttestedTlsError } from '../errors.ts'
import type { QuoteSource } from '../quote-source/quote-source.ts'
import { exporterOf } from './binding.ts'
import {
  encodeAccept,
  encodeAnswer,
  encodeAnswerOpening,
  encodeFrame,
  MAX_FRAME_BYTES,
  NONCE_BYTES,
  OPENING_BYTES,
  parseHello,
  parseProof,
} from './frames.ts'
import { appraiseFresh, freshEvidence, type Leaves } from './fresh-evidence.ts'
import { readFrame } from './read-frame.ts'

/** What a server wants of the exchange. */
export interface ServerSide {
  /** What clients must prove. */
  readonly clients: PeerRequirements | 'anyone'
  /** Where own evidence comes from. */
  readonly source: QuoteSource | 'none'
  readonly leaves: Leaves
  /** Milliseconds until the answer is sent, and again until the client is believed. */
  readonly timeoutMs: number
}

/**
 * The server's side of fresh mode.
 * @returns The client's appraisal; undefined where anyone may come.
 * @throws AttestedTlsError
 * @see docs/protocols/attested-tls.md
 */
export async function exchangeAsServer(
  socket: TLSSocket,
  { clients, leaves, source, timeoutMs }: ServerSide,
): Promise<TrustedAppraisal | undefined> {
  const common = { exporter: exporterOf(socket), serverLeaf: leaves.server }
  const untilAnswer = AbortSignal.timeout(timeoutMs)
  const hello = await readFrame(socket, OPENING_BYTES, untilAnswer)
  const { demandsEvidence } = parseHello(hello)
  if (!demandsEvidence && clients === 'anyone') {
    throw new AttestedTlsError('PROTOCOL', 'neither side demands evidence of the other')
  }
  const opening = encodeAnswerOpening({
    demandsEvidence: clients !== 'anyone',
    nonce: randomBytes(NONCE_BYTES),
  })
  const evidence =
    demandsEvidence && source !== 'none'
      ? await freshEvidence(
          source,
          { ...common, role: 'server', said: [hello, opening] },
          untilAnswer,
        )
      : undefined
  const answer = encodeAnswer(opening, evidence)
  socket.write(encodeFrame(answer))
  if (clients === 'anyone') return undefined

  const untilBelieved = AbortSignal.timeout(timeoutMs)
  const proof = parseProof(await readFrame(socket, MAX_FRAME_BYTES, untilBelieved))
  const appraisal = await appraiseFresh(
    proof,
    { ...common, role: 'client', clientLeaf: leaves.client, said: [hello, answer] },
    clients,
    untilBelieved,
  )
  socket.write(encodeFrame(encodeAccept()))
  return appraisal
}
