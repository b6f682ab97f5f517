import { QuoteSourceError } from '../errors.ts'
import { occlumSource } from './occlum.ts'

/**
 * Asks Occlum's device for evidence, as a process of its own that can be run on a stand-in's C
 * library. Says each answer as a line: hexadecimal, or the code of the error.
 *
 * Arguments: the device, and report data in hexadecimal, each asked for at the same time.
 */
const [, , device = '', ...asked] = process.argv
const source = occlumSource({ device })
const answers = asked.map(async reportData => {
  try {
    const { evidence } = await source.quote(new Uint8Array(Buffer.from(reportData, 'hex')))
    return Buffer.from(evidence).toString('hex')
  } catch (error) {
    if (!(error instanceof QuoteSourceError)) throw error
    return error.code
  }
})
for (const answer of answers) process.stdout.write(`${await answer}\n`)
