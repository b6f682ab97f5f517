import { primitives } from '#crypto'
import { hexOf } from '../bytes/text.ts'
import { CodedError, QuoteFormatError } from '../errors.ts'
import type { TdClaims, Verified } from '../verify/claims.ts'
import { EV_NO_ACTION, type EventLog, type MeasuredEvent, TPM_ALG_SHA384 } from './event-log.ts'

const REGISTERS = 4
const SIZE = 48

/** A log that does not lead to the registers of a verified report. */
export class EventLogError extends CodedError<'RTMR'> {}

declare const brand: unique symbol

/** An event that was measured: its register and the SHA-384 that it was extended by. */
export interface VerifiedEvent {
  /** 0 to 3: of RTMR0 to RTMR3. */
  readonly rtmr: number
  /** 48 bytes. */
  readonly sha384: Uint8Array
  /** As the log says; nothing measures it. */
  readonly unverifiedType: number
  /** As the log says; bound by the digest only where that is over these bytes. */
  readonly unverifiedData: Uint8Array
}

/** Events that the RTMRs of a verified quote vouch for. Only {@link verifyEventLog} makes them. */
export type VerifiedEvents = readonly VerifiedEvent[] & { readonly [brand]: 'VerifiedEvents' }

/**
 * Replays a log: what RTMR0 to RTMR3 must be if it tells of all that was measured.
 * @returns 48 bytes each.
 * @throws QuoteFormatError LENGTH when it has no SHA-384, or an event of a register that is none
 * @see Intel TDX virtual firmware design guide: measurement registers 1 to 4 are RTMR0 to RTMR3
 */
export function replayEventLog({ algorithms, events }: EventLog): readonly Uint8Array[] {
  if (!algorithms.includes(TPM_ALG_SHA384)) {
    throw new QuoteFormatError('LENGTH', 'the log has no SHA-384 digests')
  }
  const registers = Array.from({ length: REGISTERS }, () => new Uint8Array(SIZE))
  for (const event of events) {
    if (event.type === EV_NO_ACTION) continue
    const index = event.register - 1
    const register = registers[index]
    if (register === undefined) {
      throw new QuoteFormatError('LENGTH', `measurement register ${event.register}, not 1 to 4`)
    }
    registers[index] = primitives.digest('SHA-384', register, sha384Of(event))
  }
  return registers
}

/**
 * Compares a log with the RTMRs of a verified quote, and gives what was measured only when all four
 * are as it says. Events that are measured nowhere are left out. A digest is all that is measured of
 * an event: type and data are the host's word until the caller has compared a digest with them.
 * @throws EventLogError RTMR, QuoteFormatError
 */
export function verifyEventLog(log: EventLog, { tdReport }: Verified<TdClaims>): VerifiedEvents {
  for (const [index, replayed] of replayEventLog(log).entries()) {
    const seen = hexOf(tdReport.rtmrs[index] ?? new Uint8Array())
    if (hexOf(replayed) !== seen) {
      throw new EventLogError(
        'RTMR',
        `RTMR${index}: the log leads to ${hexOf(replayed)}, saw ${seen}`,
      )
    }
  }
  const measured = log.events.filter(({ type }) => type !== EV_NO_ACTION)
  return measured.map(event => ({
    rtmr: event.register - 1,
    sha384: new Uint8Array(sha384Of(event)),
    unverifiedType: event.type,
    unverifiedData: new Uint8Array(event.data),
  })) as unknown as VerifiedEvents
}

function sha384Of({ digests }: MeasuredEvent): Uint8Array {
  const found = digests.find(({ algorithm }) => algorithm === TPM_ALG_SHA384)
  if (found === undefined) throw new QuoteFormatError('LENGTH', 'an event without SHA-384')
  return found.digest
}
