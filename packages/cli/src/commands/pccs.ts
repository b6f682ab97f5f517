import { writeFile } from 'node:fs/promises'
import { collateralJson, INTEL_ROOT } from '@cloister/attestation'
import { CollateralClient, platformOfQuote, type Upstream, upstreamOf } from '@cloister/collateral'
import type { Command } from 'commander'
import { readEvidence } from '../attest/evidence-file.ts'
import { type GlobalFlags, Session } from '../session.ts'
import { simulatedPlatform } from '../simulated-platform.ts'
import { UsageError } from '../usage-error.ts'

interface GetFlags extends GlobalFlags {
  readonly out: string
  readonly from: readonly string[]
  readonly allowSimulatedPlatform?: true
}

/** `cloister pccs …`: collateral from the services that hand it out. */
export function addPccsCommands(program: Command): void {
  program
    .command('pccs')
    .description('collateral of SGX and TDX, from Intel or a caching service')
    .command('get')
    .description('fetch the collateral of a quote’s platform, verify it, and write it to a file')
    .argument('<quote>', 'the quote: binary, hexadecimal or base64')
    .requiredOption('--out <file>', 'where to write it, as JSON')
    .option(
      '--from <service>',
      'intel, alibaba:REGION or the URL of a PCCS; may be given several times, asked in order',
      (value: string, earlier: readonly string[]) => [...earlier, value],
      [],
    )
    .option('--allow-simulated-platform', "believe collateral of this home's simulated TEE too")
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
      const platform = platformOfQuote(await readEvidence(quote))
      const simulated = flags.allowSimulatedPlatform === true
      const roots = simulated ? [(await simulatedPlatform(session.home)).trustRoot] : []
      const upstreams = (flags.from.length === 0 ? ['intel'] : flags.from).map(upstreamFrom)
      const client = new CollateralClient({ upstreams, roots: [INTEL_ROOT, ...roots] })
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

function upstreamFrom(name: string): Upstream {
  try {
    return upstreamOf(name)
  } catch (cause) {
    const seen = JSON.stringify(name)
    const next = 'give intel, alibaba:REGION, or an URL such as https://pccs.example:8081'
    throw new UsageError(`--from ${seen} is no service`, next, { cause })
  }
}
