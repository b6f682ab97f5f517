/** Folders that are links into /usr on a merged system; packages name them either way. */
const MERGED = /^(bin|sbin|lib|lib32|lib64|libx32)(?=\/|$)/

/** A path on a system whose /usr is merged. */
export function mergedPath(path: string): string {
  return path.replace(MERGED, 'usr/$1')
}
