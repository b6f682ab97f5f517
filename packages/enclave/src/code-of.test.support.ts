/** The code that an act is refused with; undefined when it is not refused. */
export function codeOf(act: () => unknown): string | undefined {
  try {
    act()
  } catch (error) {
    return codeIn(error)
  }
  return undefined
}

/** The code that a promise is refused with; undefined when it is kept. */
export async function codeOfRejection(promise: Promise<unknown>): Promise<string | undefined> {
  return await promise.then(() => undefined, codeIn)
}

function codeIn(error: unknown): string {
  if (error instanceof Error && 'code' in error) return String(error.code)
  throw error
}
