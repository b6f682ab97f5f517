/**
 * Those of some options that were given, as people write them: `--docker-image`.
 * @param names - As commander has them: `dockerImage`.
 */
export function givenOptions<Flags extends object>(
  flags: Flags,
  names: readonly (keyof Flags & string)[],
): readonly string[] {
  return names
    .filter(name => flags[name] !== undefined)
    .map(name => `--${name.replace(/[A-Z]/g, letter => `-${letter.toLowerCase()}`)}`)
}
