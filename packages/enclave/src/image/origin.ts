import type { Artefact } from '../lock/format.ts'

/** Why something is in an image. */
export interface Origin {
  /**
   * What put it there: a field of the definition (`files[0]`), or `library` (a program needs it),
   * `link-target` (a link leads to it), `parent` (something is in it), `substitute` (a maintainer
   * script would have made it), `bytecode` (made of a Python module), `cloister`.
   */
  readonly rule: string
  /** The package that it comes from. */
  readonly artefact?: Artefact
  /** What needs it: absolute paths in the image. */
  readonly neededBy?: readonly string[]
}
