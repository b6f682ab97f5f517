/** What there is to tell of an error where the error itself does not get: class, code, message, causes. */
export interface ToldError {
  readonly name: string
  readonly message: string
  readonly code?: string
  readonly path?: string
  readonly reasons?: readonly unknown[]
  readonly cause?: ToldError
}

/** Deeper causes say no more. */
const MAX_CAUSES = 4

/** Tells an error. */
export function tellError(error: unknown, deep = MAX_CAUSES): ToldError {
  if (!(error instanceof Error)) return { name: 'Error', message: String(error) }
  const text = (name: 'code' | 'path') => {
    const value: unknown = Reflect.get(error, name)
    return typeof value === 'string' ? { [name]: value } : {}
  }
  const reasons: unknown = Reflect.get(error, 'reasons')
  return {
    ...{ name: error.name, message: error.message, ...text('code'), ...text('path') },
    ...(Array.isArray(reasons) ? { reasons } : {}),
    ...(error.cause instanceof Error && deep > 0
      ? { cause: tellError(error.cause, deep - 1) }
      : {}),
  }
}

/**
 * Makes an error again, which is told as the first one is.
 * @param inWords - What is done to each text of it
 */
export function errorFrom(told: ToldError, inWords: (text: string) => string): Error {
  const { name, message, code, path, reasons, cause } = told
  const error = new Error(
    inWords(message),
    cause === undefined ? {} : { cause: errorFrom(cause, inWords) },
  )
  return Object.assign(error, {
    name,
    ...(code === undefined ? {} : { code }),
    ...(path === undefined ? {} : { path: inWords(path) }),
    ...(reasons === undefined ? {} : { reasons }),
  })
}
