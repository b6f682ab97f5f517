import type { MeasuredEntry } from './entry.ts'
import type { Network } from './network.ts'

/**
 * Why an image's jobs do not run where an instance is one process, init's; undefined where they do.
 * Under Gramine it is: another process would be another enclave, with the whole of its memory once
 * more and files in memory of its own. There the program is a module that init's Node loads, and
 * nothing that only a process of its own could do is in its image.
 */
export function ownProcessFault(image: {
  readonly entry: MeasuredEntry
  readonly network: Network
}): string | undefined {
  const { entry, network } = image
  const [node, init, ...options] = entry.init
  if (node === undefined || init === undefined || options.length > 0) {
    return 'entry.init: wanted Node and the file of init'
  }
  const commands = [entry, ...Object.values(entry.others)]
  const other = commands.find(({ program }) => !isModuleOf(node, program))
  if (other !== undefined) {
    const seen = other.program.join(' ')
    return `entry.program: wanted ${node} and a module (.mjs, .cjs, .js), seen ${seen}`
  }
  if (entry.standardInput) return 'entry.standardInput: the program has none'
  if (entry.signals.length > 0) return 'entry.signals: none reaches the program'
  if (network !== 'none') return 'network: wanted none, as no other way out is offered'
  return undefined
}

function isModuleOf(node: string, [command, script = '']: readonly string[]): boolean {
  return command === node && /^\/.*\.[cm]?js$/.test(script)
}
