/** The first word of Node's arguments that is no option: nested commands have the names of others. */
export function commandIn(argv: readonly string[]): string | undefined {
  const words = argv.slice(2)
  return words.find((word, at) => !word.startsWith('-') && words[at - 1] !== '--home')
}

/** Whether Node's arguments ask for the version, and name no command. */
export function asksVersion(argv: readonly string[]): boolean {
  const words = argv.slice(2)
  const isAsked = words.some((word, at) => word === '--version' && words[at - 1] !== '--home')
  return isAsked && commandIn(argv) === undefined
}

/** Whether a command is in the bundle of `cloister run`. */
export function isBundled(command: string | undefined): boolean {
  return command === 'run' || command === 'contained'
}
