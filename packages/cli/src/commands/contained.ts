import { runContained } from '@cloister/cluster/docker'
import type { Command } from 'commander'

/** `cloister contained`: what `cloister run --on docker` starts in a container. */
export function addContainedCommand(program: Command): void {
  program
    .command('contained', { hidden: true })
    .description('run a job in this container; started by cloister run --on docker')
    .argument('<folder>', 'where the sockets are that lead out')
    .addHelpText(
      'after',
      `
It is told what to do through one of the sockets, and ends when nobody holds that any more.

Examples:
  cloister contained /cloister/sockets`,
    )
    .action(async (folder: string) => {
      await runContained(folder)
    })
}
