import { readFile } from 'node:fs/promises'
import { type ReceiptSummary, verifyReceipt } from '@cloister/enclave'
import type { Command } from 'commander'
import { table } from '../output/table.ts'
import { type GlobalFlags, Session } from '../session.ts'
import { simulatedPlatform } from '../simulated-platform.ts'
import { UsageError } from '../usage-error.ts'

/** `cloister receipt …`: what ran. */
export function addReceiptCommands(program: Command): void {
  const receipt = program.command('receipt').description('signed statements of what ran')

  receipt
    .command('verify')
    .description('verify a receipt, offline, as of the time it was made')
    .argument('<file>', "a receipt.jws, from an output's folder")
    .option('--allow-simulated-platform', "believe this home's simulated TEE")
    .addHelpText(
      'after',
      '\nExample:\n  cloister receipt verify sealed/result/receipt.jws --allow-simulated-platform',
    )
    .action(async (file: string, _flags, command: Command) => {
      const flags = command.optsWithGlobals<GlobalFlags & { allowSimulatedPlatform?: true }>()
      const session = new Session(flags)
      if (flags.allowSimulatedPlatform !== true) {
        throw new UsageError(
          'no root is pinned, so no receipt verifies',
          'give --allow-simulated-platform for a receipt of a simulated TEE of yours',
        )
      }
      const platform = await simulatedPlatform(session.home)
      const pin = await session.pin()
      const summary = await verifyReceipt((await readFile(file, 'utf8')).trim(), {
        roots: [platform.trustRoot],
        kmsIdentityKeys: [pin.identityKey],
      })
      session.printer.result(summary, () => describe(summary))
    })
}

function describe(summary: ReceiptSummary): string {
  return table(
    ['', ''],
    [
      ['tee', summary.tee === 'sim' ? 'SIMULATED: nothing was hidden from its host' : summary.tee],
      ['measurement', summary.measurement],
      ['signer', summary.mrSigner],
      ['TCB status', summary.tcbStatus],
      ['job digest', summary.jobDigest],
      ...whatRan(summary),
      ...summary.inputs.map(input => ['input', `${input.datasetId} version ${input.version}`]),
      ...summary.outputs.map(output => ['output', `${output.datasetId} version ${output.version}`]),
      ['attested', summary.attestedAt.toISOString()],
      ['completed', summary.completedAt.toISOString()],
      ['audit row', `${summary.releaseIndex} at key service ${summary.kmsId}`],
    ],
  )
}

function whatRan({ job }: ReceiptSummary): readonly (readonly [string, string])[] {
  const { command, environment } = job
  if (command.kind === 'sql') {
    return command.queries.map(({ output, sql }) => [`query → ${output}`, sql])
  }
  return [
    ['arguments', JSON.stringify(command.argv)],
    ['environment', JSON.stringify(environment)],
  ]
}
