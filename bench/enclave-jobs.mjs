/**
 * Runs a job of a home several times, one after another, as a process of its own. Takes JSON on its
 * input and prints JSON: for each run, milliseconds from the call to every step, and what the
 * instance used.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Writable } from 'node:stream'
import { text } from 'node:stream/consumers'
import { importSimPlatform } from '@cloister/attestation'
import { readJobFile, runJobFile } from '@cloister/engine'

const { home, file, rounds } = JSON.parse(await text(process.stdin))
const pin = JSON.parse(readFileSync(join(home, 'kms.json'), 'utf8'))
const platform = importSimPlatform(readFileSync(join(home, 'sim-platform.json'), 'utf8'))
const job = await readJobFile(file)
const silent = () => new Writable({ write: (_chunk, _encoding, done) => done() })

const runs = []
for (let round = 0; round < rounds; round++) {
  const steps = {}
  const begun = performance.now()
  const result = await runJobFile({
    ...{ job, pin, platform, stdout: silent(), stderr: silent() },
    onEvent: event => {
      if (event.kind === 'step') steps[event.step] = performance.now() - begun
    },
  })
  if (result.outcome !== 'completed') throw new Error(JSON.stringify(result))
  runs.push({ steps, usage: result.usage })
}
process.stdout.write(JSON.stringify(runs))
