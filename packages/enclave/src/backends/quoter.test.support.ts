import { readFileSync } from 'node:fs'
import { importSimPlatform } from '@cloister/attestation'

/**
 * Plays the quoting enclave for the stand-ins: reads what the processor knows of an enclave, and
 * writes its quote. Argument: the simulated platform's file.
 */
const platform = importSimPlatform(readFileSync(process.argv[2] ?? '', 'utf8'))
const request: {
  readonly mrEnclave: string
  readonly mrSigner: string
  readonly isvProdId: number
  readonly isvSvn: number
  readonly debug: boolean
  readonly reportData: string
} = JSON.parse(readFileSync(0, 'utf8'))

const bytes = (text: string) => new Uint8Array(Buffer.from(text, 'hex'))
process.stdout.write(
  platform.quote({
    mrEnclave: bytes(request.mrEnclave),
    mrSigner: bytes(request.mrSigner),
    isvProdId: request.isvProdId,
    isvSvn: request.isvSvn,
    debug: request.debug,
    reportData: bytes(request.reportData),
  }),
)
