import type { Duplex } from 'node:stream'
import type { SimPlatform } from '@cloister/attestation'
import { encodeFrame, FrameReader } from '../instance/frame.ts'
import { REPORT_DATA_BYTES } from '../instance/layout.ts'

/** What the launcher found the instance to be; no instance can choose any of it. */
export interface MeasuredEnclave {
  /** 32 bytes. */
  readonly mrEnclave: Uint8Array
  /** 32 bytes. */
  readonly mrSigner: Uint8Array
  readonly isvProdId: number
  readonly isvSvn: number
  readonly debug: boolean
}

/**
 * Answers quote requests on one instance's channel. A request is 64 bytes of report data and nothing
 * else; anything else ends the channel. All other fields of the quote are `enclave`'s.
 * @param onQuote - Called for each quote given.
 */
export function answerQuotes(
  channel: Duplex,
  platform: SimPlatform,
  enclave: MeasuredEnclave,
  onQuote: () => void,
): void {
  const reader = new FrameReader(REPORT_DATA_BYTES)
  channel.on('data', (bytes: Buffer) => {
    try {
      for (const reportData of reader.push(bytes)) {
        if (reportData.length !== REPORT_DATA_BYTES) {
          channel.destroy()
          return
        }
        channel.write(encodeFrame(platform.quote({ ...enclave, reportData })))
        onQuote()
      }
    } catch {
      channel.destroy()
    }
  })
  // A channel that broke is a channel that ended: the instance sees its own end of it.
  channel.on('error', () => channel.destroy())
}
