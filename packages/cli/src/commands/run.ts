import type { LaunchEvent } from '@cloister/enclave'
import { readJobFile, runJobFile } from '@cloister/engine'
import { KmsClient } from '@cloister/kms'
import type { Command } from 'commander'
import { refusalOf } from '../instance-refusal.ts'
import { Collected } from '../output/collected.ts'
import { type GlobalFlags, Session } from '../session.ts'
import { simulatedPlatform } from '../simulated-platform.ts'

/** `cloister run`: a job in an enclave. */
export function addRunCommand(program: Command): void {
  program
    .command('run')
    .description('run a job in a simulated enclave')
    .argument('<job>', 'a job.yaml')
    .addHelpText('after', '\nExample:\n  cloister run job.yaml')
    .action(async (file: string, _flags, command: Command) => {
      const session = new Session(command.optsWithGlobals<GlobalFlags>())
      // With --json there is one object on each stream, and what the program says is in it.
      const said = session.json ? new Collected() : undefined
      const interrupted = new AbortController()
      process.once('SIGINT', () => interrupted.abort())
      const job = await readJobFile(file)
      const pin = await session.pin()
      const platform = await simulatedPlatform(session.home)
      const client = new KmsClient(pin)
      const result = await session
        .watching(client, () =>
          runJobFile({
            job,
            pin,
            platform,
            onEvent: event => session.printer.note(describe(event)),
            signal: interrupted.signal,
            ...(said === undefined ? { stdout: process.stderr } : { stdout: said, stderr: said }),
          }),
        )
        .finally(() => client.close())
      if (result.outcome === 'failed') throw refusalOf(result.failure, said?.text())
      const receipts = Object.values(job.outputs).map(({ folder }) => `${folder}/receipt.jws`)
      session.printer.result(
        { outcome: result.outcome, isolation: result.isolation, receipts, output: said?.text() },
        () =>
          `done; receipt: ${receipts.join(', ')}\nTHE TEE WAS SIMULATED: nothing was hidden from this host`,
      )
    })
}

function describe(event: LaunchEvent): string {
  switch (event.kind) {
    case 'image':
      return `image ${event.measurement}${event.debug ? ' (DEBUG)' : ''}`
    case 'isolation':
      return `isolation: ${event.message}`
    case 'started':
      return `instance started, process ${event.pid}`
    case 'quoted':
      return 'quoted'
    case 'step':
      return event.step
    case 'warning':
      return `warning: ${event.message}`
  }
}
