import { diffImages, type ImageDifference } from '@cloister/enclave'
import type { Command } from 'commander'
import { type GlobalFlags, Session } from '../session.ts'

const SHOWN = 40

/** `cloister enclave diff`: why a measurement changed. */
export function addDiffCommand(enclave: Command): void {
  enclave
    .command('diff')
    .description('say why two images have different measurements')
    .argument('<before>', 'an image')
    .argument('<after>', 'another')
    .addHelpText('after', '\nExample:\n  cloister enclave diff old.image new.image')
    .action(async (before: string, after: string, _flags, command: Command) => {
      const session = new Session(command.optsWithGlobals<GlobalFlags>())
      const difference = await diffImages(before, after)
      session.printer.result(difference, () => describe(difference))
    })
}

function describe({ measurements, same, fields, packages, entries }: ImageDifference): string {
  if (same) return `both measure ${measurements[0]}`
  const shown = entries.slice(0, SHOWN)
  return [
    `before  ${measurements[0]}`,
    `after   ${measurements[1]}`,
    ...fields.map(
      ({ field, before, after }) => `${field}: ${before ?? 'absent'} -> ${after ?? 'absent'}`,
    ),
    ...packages.map(
      ({ kind, name, before, after }) =>
        `${kind} ${name}: ${before.join(', ') || 'absent'} -> ${after.join(', ') || 'absent'}`,
    ),
    ...shown.map(({ path, change, from }) => `${change.padEnd(7)} ${path}  (${from})`),
    ...(entries.length > shown.length
      ? [`and ${entries.length - shown.length} more; --json has all`]
      : []),
  ].join('\n')
}
