const SPECIAL = /[\\^$.|+()[\]{}]/g

/**
 * A glob over paths as an expression: `*` and `?` stay in one name, `**` crosses folders, and a
 * pattern that ends in `/**` means everything below.
 */
export function globExpression(glob: string): RegExp {
  const source = glob
    .split('/')
    .map((part, index, all) => {
      if (part !== '**') {
        const text = part
          .replaceAll(SPECIAL, '\\$&')
          .replaceAll('*', '[^/]*')
          .replaceAll('?', '[^/]')
        return index === all.length - 1 ? text : `${text}/`
      }
      return index === all.length - 1 ? '.+' : '(?:[^/]+/)*'
    })
    .join('')
  return new RegExp(`^${source}$`, 'su')
}

/** Whether a path matches one of some globs. */
export type PathFilter = (path: string) => boolean

/** A filter of globs; of none nothing matches. A slash in front makes no difference. */
export function matching(globs: readonly string[]): PathFilter {
  const expressions = globs.map(glob => globExpression(relative(glob)))
  return path => expressions.some(expression => expression.test(relative(path)))
}

function relative(path: string): string {
  return path.replace(/^\/+/, '')
}
