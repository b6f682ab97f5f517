/** The first word of Node's arguments that is no option: nested commands have the names of others. */
export function commandIn(argv: readonly string[]): string | undefined {
  const words = argv.slice(2)
  return words.find((word, at) => !word.startsWith('-') && words[at - 1] !== '--home')
}

/** Whether a command is in the bundle of `cloister run`. */
export function isBundled(command: string | undefined): boolean {
  return command === 'run' || command === 'contained'
}
