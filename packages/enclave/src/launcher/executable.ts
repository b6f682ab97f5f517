import { accessSync, constants } from 'node:fs'

/** The first of some paths at which there is a program that may be run. */
export function executableOf(paths: readonly string[]): string | undefined {
  return paths.find(path => {
    try {
      accessSync(path, constants.X_OK)
      return true
    } catch {
      return false
    }
  })
}
