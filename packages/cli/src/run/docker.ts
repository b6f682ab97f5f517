import type { ContainerOptions } from '@cloister/cluster/docker'
import type { Command } from 'commander'
import { cloisterImage } from '../cloister-image.ts'
import { givenOptions } from '../given-options.ts'
import { UsageError } from '../usage-error.ts'

/** Flags for containers. */
export interface DockerFlags {
  readonly dockerImage?: string
  readonly dockerEngine?: string
  readonly dockerNetwork?: string
}

/** Adds {@link DockerFlags}. */
export function addDockerOptions(command: Command): Command {
  return command
    .option('--docker-image <name>', "the container's image (default: cloister of this version)")
    .option('--docker-engine <command>', "the engine's command (default: docker, else podman)")
    .option('--docker-network <name>', "the engine's network, for programs that have one")
}

/** Requires that nothing is said about containers. @throws UsageError */
export function requireNoContainers(flags: DockerFlags): void {
  const [odd] = givenOptions(flags, ['dockerImage', 'dockerEngine', 'dockerNetwork'])
  if (odd === undefined) return
  throw new UsageError(`${odd}: is about containers`, 'give --on docker too, or leave it out')
}

/** Reads them. */
export function dockerOf({
  dockerImage,
  dockerEngine,
  dockerNetwork,
}: DockerFlags): Pick<ContainerOptions, 'containerImage' | 'engine' | 'network'> {
  return {
    containerImage: dockerImage ?? cloisterImage(),
    ...(dockerEngine === undefined ? {} : { engine: dockerEngine }),
    ...(dockerNetwork === undefined ? {} : { network: dockerNetwork }),
  }
}
