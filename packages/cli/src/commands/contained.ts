import { runContained } from '@cloister/cluster/docker'
import type { Command } from 'commander'

/** `cloister contained`: what `cloister run --on docker` starts in a container. */
export function addContainedCommand(program: Command): void {
  program
    .command('contained', { hidden: true })
    .description('run a job in this container; started by cloister run --on docker')
    .argument('<folder>', 'where the sockets are that lead out')
    .action(async (folder: string) => {
      await runContained(folder)
    })
}
