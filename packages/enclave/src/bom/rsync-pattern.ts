const SPECIAL = /[\\^$.|+()\]{}]/

function source(pattern: string): string {
  let text = ''
  for (let at = 0; at < pattern.length; at += 1) {
    const letter = pattern[at] ?? ''
    if (pattern.startsWith('**', at)) {
      text += '.*'
      at += 1
    } else if (letter === '*') {
      text += '[^/]*'
    } else if (letter === '?') {
      text += '[^/]'
    } else if (letter === '[') {
      const end = pattern.indexOf(']', at + 2)
      if (end === -1) {
        text += '\\['
      } else {
        const inner = pattern
          .slice(at + 1, end)
          .replaceAll('\\', '\\\\')
          .replace(/^!/, '^')
        text += `(?!/)[${inner.replaceAll('[', '\\[')}]`
        at = end
      }
    } else if (letter === '\\' && at + 1 < pattern.length) {
      at += 1
      text += (pattern[at] ?? '').replace(/[^A-Za-z0-9]/, '\\$&')
    } else {
      text += SPECIAL.test(letter) ? `\\${letter}` : letter
    }
  }
  return text
}

/**
 * What rsync's `--exclude` patterns leave out of a copied folder.
 * @param patterns - As rsync takes them: of a name alone it matters nowhere where it stands, a
 * leading slash means the top of what is copied, a trailing one folders only.
 * @returns whether a path below the top is left out
 * @see rsync(1), "PATTERN MATCHING RULES"
 */
export function rsyncExclusion(
  patterns: readonly string[],
): (path: string, isFolder: boolean) => boolean {
  const rules = patterns.map(pattern => {
    const foldersOnly = pattern.endsWith('/')
    const body = foldersOnly ? pattern.replace(/\/+$/, '') : pattern
    const anchored = body.startsWith('/')
    const hasSlash = body.includes('/') || body.includes('**')
    const expression = anchored
      ? new RegExp(`^${source(body.slice(1))}$`, 'su')
      : new RegExp(`(?:^|/)${source(body)}$`, 'su')
    return { foldersOnly, expression, byName: !hasSlash }
  })
  return (path, isFolder) =>
    rules.some(({ foldersOnly, expression, byName }) => {
      if (foldersOnly && !isFolder) return false
      return expression.test(byName ? path.slice(path.lastIndexOf('/') + 1) : path)
    })
}
