const SPECIAL = /[\\^$.|?*+()[\]{}/]/

function literal(letter: string): string {
  return SPECIAL.test(letter) ? `\\${letter}` : letter
}

/** A class that is none, such as one whose range is turned round, matches nothing. */
function compiled(text: string): RegExp {
  try {
    return new RegExp(text, 'su')
  } catch {
    return /(?!)/
  }
}

function source(pattern: string): string {
  let text = ''
  for (let at = 0; at < pattern.length; at += 1) {
    const letter = pattern[at] ?? ''
    if (at === 0 && pattern.startsWith('**/')) {
      // Also no folder at all.
      text += '(?:.*/)?'
      at += 2
    } else if (pattern.startsWith('**', at)) {
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
      text += literal(pattern[at] ?? '')
    } else {
      text += literal(letter)
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
      ? compiled(`^${source(body.slice(1))}$`)
      : compiled(`(?:^|/)${source(body)}$`)
    return { foldersOnly, expression, byName: !hasSlash }
  })
  return (path, isFolder) =>
    rules.some(({ foldersOnly, expression, byName }) => {
      if (foldersOnly && !isFolder) return false
      return expression.test(byName ? path.slice(path.lastIndexOf('/') + 1) : path)
    })
}
