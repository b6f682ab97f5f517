import { asciiOf } from '../bytes/text.ts'
import { type EventLog, type MeasuredEvent, TPM_ALG_SHA384 } from '../event-log/event-log.ts'
import { replayEventLog } from '../event-log/replay.ts'
import { type Facts, factsOf, hexFact } from './facts.ts'

const MAX_TEXT = 200

/** What an event log says, and the registers it leads to. */
export function describeEventLog(log: EventLog): Facts {
  const registers = replayEventLog(log).map(
    (register, index) => [`RTMR${index}`, hexFact(register)] as const,
  )
  return { ...Object.fromEntries(registers), events: log.events.map(describeEvent) }
}

function describeEvent({ register, type, digests, data }: MeasuredEvent): Facts {
  const digest = digests.find(({ algorithm }) => algorithm === TPM_ALG_SHA384)?.digest
  const text = asciiOf(data).replace(/\0+$/, '')
  const isText = text.length > 0 && text.length <= MAX_TEXT && /^[\x20-\x7e]+$/.test(text)
  return factsOf({
    register: register === 0 ? 'none' : `RTMR${register - 1}`,
    type: `0x${type.toString(16)}`,
    'SHA-384': digest && hexFact(digest),
    data: isText ? text : `${data.length} bytes`,
  })
}
