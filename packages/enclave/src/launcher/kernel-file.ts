import { readFileSync } from 'node:fs'

/** What a file of the kernel says, below /proc or of a control group; undefined where there is none. */
export function kernelFile(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return undefined
  }
}
