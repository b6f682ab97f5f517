import { CodedError } from '@cloister/attestation'

/**
 * Why an image cannot be built:
 * `EXISTS` something is there already; `SOURCE` a file to put in is missing or of a kind that images
 * do not hold; `CONFLICT` two things want one path; `LIBRARY` a shared library is missing; `BUNDLE`
 * a bundle cannot be made; `ENTRY` a command is not an executable file of the image; `SECRET`
 * something that goes in looks like a secret; `WRITE` the image cannot be written.
 *
 * Why an image is refused:
 * `READ` it cannot be read; `ABSENT` it does not have the path that was asked for; `SIGNATURE` its SIGSTRUCT does not verify; `SIGNER` another key signed
 * it; `MEASUREMENT` its manifest is not what was signed, or not the measurement that was wanted;
 * `IDENTITY` the SIGSTRUCT says another identity than the manifest; `MANIFEST` its manifest is
 * malformed; `MISSING`, `ADDED`, `CHANGED` a file is; `TYPE`, `MODE` a file has another; `LINK` a
 * link leads elsewhere, or outside.
 */
export type ImageErrorCode =
  | 'EXISTS'
  | 'SOURCE'
  | 'CONFLICT'
  | 'LIBRARY'
  | 'BUNDLE'
  | 'ENTRY'
  | 'SECRET'
  | 'WRITE'
  | 'READ'
  | 'SIGNATURE'
  | 'SIGNER'
  | 'MEASUREMENT'
  | 'IDENTITY'
  | 'MANIFEST'
  | 'ABSENT'
  | 'MISSING'
  | 'ADDED'
  | 'CHANGED'
  | 'TYPE'
  | 'MODE'
  | 'LINK'

/** One thing that is wrong with an image. */
export interface ImageProblem {
  readonly code: ImageErrorCode
  /** Path in the image folder. */
  readonly path: string
  readonly wanted: string
  readonly seen: string
}

/** Thrown when an image cannot be built, or is refused. */
export class ImageError extends CodedError<ImageErrorCode> {
  /** Everything that is wrong, where an existing image was compared with its manifest. */
  readonly problems: readonly ImageProblem[]

  /**
   * @param code - What went wrong, for programs.
   * @param message - What went wrong, for people.
   * @param options - Standard error options, and the problems found.
   */
  constructor(
    code: ImageErrorCode,
    message: string,
    options?: ErrorOptions & { readonly problems?: readonly ImageProblem[] },
  ) {
    super(code, message, options)
    this.problems = options?.problems ?? []
  }
}

const SHOWN = 5

/** One error of all problems, named after the first. */
export function imageErrorOf(
  problems: readonly [ImageProblem, ...ImageProblem[]],
  cause?: unknown,
): ImageError {
  const lines = problems
    .slice(0, SHOWN)
    .map(({ path, wanted, seen }) => `${path}: wanted ${wanted}, seen ${seen}`)
  if (problems.length > SHOWN) lines.push(`and ${problems.length - SHOWN} more`)
  return new ImageError(problems[0].code, lines.join('; '), {
    problems,
    ...(cause === undefined ? {} : { cause }),
  })
}
