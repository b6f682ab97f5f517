import type { Appraisal } from '@cloister/attestation'
import type { Command } from 'commander'
import { inspectFile } from '../attest/inspect-file.ts'
import type { JudgeFlags } from '../attest/judge-file.ts'
import { factLines } from '../attest/print-facts.ts'
import type { QuoteFlags } from '../attest/quote-file.ts'
import { EXIT } from '../output/exit-codes.ts'
import { createPrinter } from '../output/printer.ts'
import { withPolicyOptions } from '../policy/options.ts'

interface Flags extends JudgeFlags {
  readonly json?: boolean
}

/** `cloister attest …`: evidence, offline. */
export function addAttestCommands(program: Command): void {
  const attest = program
    .command('attest')
    .description('verify, appraise and read evidence, offline')

  addTokenCommands(attest)
  addQuoteCommand(attest)
  addRegisterCommand(attest)
  verifying(attest, 'verify')
    .description('verify a quote or a report; with a policy, appraise it')
    .option('--policy <file>', 'appraise it by this policy (YAML)')
    .option('--event-log <file>', 'a TDX event log (CCEL), which must lead to the quote’s RTMRs')
    .addHelpText(
      'after',
      `
Examples:
  cloister attest verify quote.bin --collateral collateral.json
  cloister attest verify report.bin --collateral snp/ --policy policy.yaml --at 2026-01-31`,
    )
    .action(async (file: string, _flags, command: Command) => {
      const flags = command.optsWithGlobals<Flags>()
      const printer = createPrinter({ json: flags.json === true })
      const { claims, appraisal, events, text } = await judge(file, flags)
      const { verdict = 'verified' } = appraisal ?? {}
      printer.result({ verdict, ...reasonsOf(appraisal), claims, events }, () => text)
      if (verdict === 'rejected') process.exitCode = EXIT.refused
    })

  verifying(attest, 'explain')
    .description('say why a policy rejects evidence, and the smallest change that would pass')
    .requiredOption('--policy <file>', 'the policy (YAML)')
    .addHelpText(
      'after',
      '\nExample:\n  cloister attest explain quote.bin --collateral collateral.json --policy policy.yaml',
    )
    .action(async (file: string, _flags, command: Command) => {
      const flags = command.optsWithGlobals<Flags>()
      const printer = createPrinter({ json: flags.json === true })
      const { appraisal, explanation } = await judge(file, flags)
      const verdict = appraisal?.verdict
      printer.result({ verdict, ...reasonsOf(appraisal) }, () => explanation)
      if (verdict === 'rejected') process.exitCode = EXIT.refused
    })

  attest
    .command('inspect')
    .description('read any evidence, certificate, list, document or SIGSTRUCT; verifies nothing')
    .argument('<file>', 'binary, PEM, JSON, hexadecimal or base64')
    .addHelpText(
      'after',
      `
Examples:
  cloister attest inspect quote.bin
  cloister attest inspect vcek.der --json`,
    )
    .action(async (file: string, _flags, command: Command) => {
      const flags = command.optsWithGlobals<Flags>()
      const printer = createPrinter({ json: flags.json === true })
      const found = await inspectFile(file)
      printer.note('nothing here is verified')
      printer.result({ ...found, verified: false }, () =>
        [found.kind, ...factLines(found.facts, '  ')].join('\n'),
      )
    })
}

/** `cloister attest token …`: what key services say of instances. */
function addTokenCommands(attest: Command): void {
  attest
    .command('token')
    .description('tokens: attestation results that a key service signed')
    .command('verify')
    .description('verify a token (EAT and EAR) by the key service that signed it')
    .argument('<file>', 'the token, a compact JWS')
    .option('--pin <file>', "the key service's kms.json (default: the one in the home folder)")
    .option('--at <instant>', 'judge at this time (default: now)')
    .addHelpText('after', '\nExample:\n  cloister attest token verify token.jwt --pin kms.json')
    .action(async (file: string, _flags, command: Command) => {
      const flags = command.optsWithGlobals<Flags & { pin?: string }>()
      const { verifyTokenFile } = await import('../attest/token-file.ts')
      const { claims, text } = await verifyTokenFile(file, flags)
      createPrinter({ json: flags.json === true }).result(claims, () => text)
    })
}

/** `cloister attest register`, and `cloister register`: the older stack's verb for `cloister policy add`. */
export function addRegisterCommand(parent: Command): void {
  withPolicyOptions(parent.command('register'))
    .description('let an image use a key, as `policy add` does, and print its policy_Id')
    .addHelpText(
      'after',
      `
Examples:
  cloister attest register --key patients --job job.yaml --tee sgx
  cloister attest register --key patients --job job.yaml --tee sgx --measurement-file measurement.json --signer $MRSIGNER --minimum-svn 3`,
    )
    .action(async (_flags, command: Command) => {
      const { addReleasePolicy } = await import('../policy/add.ts')
      const { added, printer } = await addReleasePolicy(command)
      printer.result({ policy_Id: added.policyId }, () => `policy_Id ${added.policyId}`)
    })
}

/** `cloister attest quote`: evidence of where this runs. */
function addQuoteCommand(attest: Command): void {
  attest
    .command('quote')
    .description('have the platform quote this guest or enclave')
    .requiredOption('--out <file>', 'where to write the quote or report')
    .option('--report-data <hex>', 'what the evidence is to be about, up to 64 bytes', '')
    .option(
      '--source <name>',
      'configfs-tsm, gramine, occlum or simulated (default: what is there)',
    )
    .addHelpText(
      'after',
      `
Examples:
  cloister attest quote --report-data $(sha256sum key.pem | cut -c1-64) --out quote.bin
  cloister attest quote --source simulated --out quote.bin
  cloister attest verify quote.bin --allow-simulated-platform`,
    )
    .action(async (_flags, command: Command) => {
      const flags = command.optsWithGlobals<Flags & QuoteFlags>()
      const { writeQuote } = await import('../attest/quote-file.ts')
      const written = await writeQuote(flags)
      const printer = createPrinter({ json: flags.json === true })
      if (written.source === 'simulated') printer.note('SIMULATED: it proves nothing of any host')
      printer.result(
        written,
        () => `${written.bytes} bytes from ${written.source} in ${written.file}`,
      )
    })
}

function verifying(attest: Command, name: string): Command {
  return attest
    .command(name)
    .argument('<file>', 'a quote or a report: binary, hexadecimal or base64')
    .option(
      '--collateral <path>',
      'JSON of a quote’s collateral; or a folder with it, or with vek.der, chain.pem and crl.der',
    )
    .option('--at <instant>', 'judge at this time (default: now)')
    .option('--trust-root <file>', 'trust this certificate’s key in place of Intel’s and AMD’s')
    .option(
      '--allow-simulated-platform',
      "trust this home's simulated TEE too; it has its own collateral",
    )
    .option(
      '--allow-unchecked-revocation',
      'verify a SEV-SNP report without a list of what AMD revoked',
    )
}

/** Loads what verifies and appraises; inspection goes without. */
async function judge(file: string, flags: Flags) {
  const { judgeFile } = await import('../attest/judge-file.ts')
  return await judgeFile(file, flags)
}

function reasonsOf(appraisal: Appraisal | undefined) {
  return appraisal?.verdict === 'rejected' ? { reasons: appraisal.reasons } : {}
}
