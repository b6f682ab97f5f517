/** The message of a `Status`, which may come as text. */
export function messageIn(body: unknown): string | undefined {
  try {
    const status: unknown = typeof body === 'string' ? JSON.parse(body) : body
    const { message } = { message: undefined, ...Object(status) }
    return typeof message === 'string' ? message.slice(0, 300) : undefined
  } catch {
    return undefined
  }
}
