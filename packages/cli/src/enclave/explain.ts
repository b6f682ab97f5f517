import { contributions, type Explanation, explainImage } from '@cloister/enclave'
import type { Command } from 'commander'
import { table } from '../output/table.ts'
import { type GlobalFlags, Session } from '../session.ts'
import { mebibytes } from './sizes.ts'

/** Fewer than this are told one by one. */
const SHOWN = 40

/** `cloister enclave explain`: what each file of an image is there for. */
export function addExplainCommand(enclave: Command): void {
  enclave
    .command('explain')
    .description('say what a file of an image, or all of them, are there for')
    .argument('<image>', 'the image')
    .argument('[path]', 'a file or folder in it', '/')
    .addHelpText(
      'after',
      `
Examples:
  cloister enclave explain reports.image
  cloister enclave explain reports.image /usr/lib/x86_64-linux-gnu/libssl.so.3`,
    )
    .action(async (folder: string, path: string, _flags, command: Command) => {
      const session = new Session(command.optsWithGlobals<GlobalFlags>())
      const explanations = await explainImage(folder, path)
      session.printer.result(explanations, () =>
        explanations.length > SHOWN ? summary(explanations) : explanations.map(describe).join('\n'),
      )
    })
}

function summary(explanations: readonly Explanation[]): string {
  return table(
    ['from', 'files', 'size'],
    contributions(explanations).map(({ from, files, sizeBytes }) => [
      from,
      `${files}`,
      mebibytes(sizeBytes),
    ]),
  )
}

function describe(one: Explanation): string {
  const lines = [`${one.path}${one.leadsTo === undefined ? '' : ` -> ${one.leadsTo}`}`]
  if (one.package !== undefined) lines.push(`  from ${one.package.purl}`)
  lines.push(`  ${one.because}`)
  if (one.neededBy !== undefined) {
    const more = (one.neededByCount ?? 0) - one.neededBy.length
    lines.push(`  needed by ${one.neededBy.join(', ')}${more > 0 ? ` and ${more} more` : ''}`)
  }
  return lines.join('\n')
}
