import { writeFile } from 'node:fs/promises'
import { collateralJson, isSnpReport } from '@cloister/attestation'
import { CollateralClient, platformOfQuote } from '@cloister/collateral'
import type { Command } from 'commander'
import { readEvidence } from '../attest/evidence-file.ts'
import { addAdminCommands } from '../pccs/administer.ts'
import { addBundleCommands } from '../pccs/bundles.ts'
import {
  type RootFlags,
  rootsFrom,
  type UpstreamFlags,
  upstreamsFrom,
  withRootOptions,
  withUpstreamOptions,
} from '../pccs/options.ts'
import { addServeCommand } from '../pccs/serve.ts'
import { Session } from '../session.ts'
import { UsageError } from '../usage-error.ts'

interface GetFlags extends RootFlags, UpstreamFlags {
  readonly out: string
}

/** `cloister pccs …`: collateral, from the services that hand it out, and a service of one's own. */
export function addPccsCommands(program: Command): void {
  const pccs = program
    .command('pccs')
    .description('collateral of SGX and TDX: get it, serve it, carry it to closed networks')

  addGetCommand(pccs)
  addServeCommand(pccs)
  addAdminCommands(pccs)
  addBundleCommands(pccs)
}

function addGetCommand(pccs: Command): void {
  const get = pccs
    .command('get')
    .description('fetch the collateral of a quote’s platform, verify it, and write it to a file')
    .argument('<quote>', 'the quote: binary, hexadecimal or base64')
    .requiredOption('--out <file>', 'where to write it, as JSON')
  withRootOptions(withUpstreamOptions(get))
    .addHelpText(
      'after',
      `
Examples:
  cloister pccs get quote.bin --out collateral.json
  cloister pccs get quote.bin --from alibaba:cn-hangzhou --from intel --out collateral.json
  cloister attest verify quote.bin --collateral collateral.json`,
    )
    .action(async (quote: string, _flags, command: Command) => {
      const flags = command.optsWithGlobals<GetFlags>()
      const session = new Session(flags)
      const platform = platformOfQuote(await readQuote(quote))
      const upstreams = await upstreamsFrom(flags)
      const client = new CollateralClient({ upstreams, roots: await rootsFrom(flags, session) })
      const { collateral, from } = await client.get(platform)
      await writeFile(flags.out, `${JSON.stringify(collateralJson(collateral), null, 2)}\n`)
      session.printer.result({ ...platform, from, file: flags.out }, () =>
        [
          `collateral of ${platform.tee} on ${platform.fmspc} (${platform.ca} CA) from ${from}`,
          `  in ${flags.out}`,
        ].join('\n'),
      )
    })
}

/** Intel's services have nothing for AMD's processors. */
async function readQuote(file: string): Promise<Uint8Array> {
  const evidence = await readEvidence(file)
  if (!isSnpReport(evidence)) return evidence
  throw new UsageError(
    `${file}: wanted a quote of SGX or TDX, saw a report of SEV-SNP`,
    'get vek.der, chain.pem and crl.der from AMD’s KDS: docs/attestation.md',
  )
}
