import { constants, mkdir, open, rmdir } from 'node:fs/promises'
import { QuoteSourceError } from '../errors.ts'

/** What the drivers do with the files of a device. */
export interface DeviceFiles {
  /** Makes a folder, which the device fills. */
  makeFolder(path: string): Promise<void>
  /** Removes a folder; what the device put there goes with it. */
  removeFolder(path: string): Promise<void>
  /** Opens, writes everything in one call, and closes. */
  write(path: string, bytes: Uint8Array): Promise<void>
  /** Reads to the end, `maxBytes` at most. */
  read(path: string, maxBytes: number): Promise<Uint8Array>
}

/** The machine's own. */
export const machineFiles: DeviceFiles = {
  makeFolder: async path => {
    await mkdir(path, { mode: 0o700 })
  },
  removeFolder: path => rmdir(path),
  async write(path, bytes) {
    const file = await open(path, constants.O_WRONLY)
    try {
      const { bytesWritten } = await file.write(bytes)
      if (bytesWritten !== bytes.length) {
        throw new QuoteSourceError(
          'DEVICE',
          `${path} took ${bytesWritten} of ${bytes.length} bytes`,
        )
      }
    } finally {
      await file.close()
    }
  },
  async read(path, maxBytes) {
    const file = await open(path, 'r')
    try {
      // The sizes that such files claim mean nothing: read until there is no more.
      const buffer = Buffer.alloc(maxBytes + 1)
      let length = 0
      for (;;) {
        const { bytesRead } = await file.read(buffer, length, buffer.length - length, null)
        if (bytesRead === 0) return new Uint8Array(buffer.subarray(0, length))
        length += bytesRead
        if (length > maxBytes) {
          throw new QuoteSourceError('DEVICE', `${path} holds more than ${maxBytes} bytes`)
        }
      }
    } finally {
      await file.close()
    }
  },
}

/** The system's name of an error, such as `ENOENT`. */
export function errnoOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : ''
}

/** The error of a driver for what a device failed with. */
export function deviceError(device: string, cause: unknown): QuoteSourceError {
  if (cause instanceof QuoteSourceError) return cause
  const errno = errnoOf(cause)
  return ['ENOENT', 'ENXIO', 'ENOTTY', 'ENODEV', 'EACCES', 'EPERM'].includes(errno)
    ? new QuoteSourceError('UNAVAILABLE', `${device} is not there, or not for us (${errno})`, {
        cause,
      })
    : new QuoteSourceError('DEVICE', `${device} failed (${errno})`, { cause })
}
