import type * as Koffi from 'koffi'

/** ioctl(2), for which Node has no call. */
export interface Ioctl {
  /**
   * Makes the call, off the main thread.
   * @param argument - What the device reads and writes; in use until the call is done.
   * @throws Error with the system's name of the error, such as `ENOTTY`, as its `code`.
   */
  call(fd: number, request: number, argument: Buffer): Promise<void>
  /** Where a buffer's bytes are, for arguments that point to it; it stays there while it is in use. */
  addressOf(bytes: Buffer): bigint
}

let loaded: Ioctl | undefined

/** The machine's own ioctl. 64-bit Linux. */
export async function machineIoctl(): Promise<Ioctl> {
  loaded ??= bind(await import('koffi'))
  return loaded
}

function bind(koffi: typeof Koffi): Ioctl {
  const names = new Map(Object.entries(koffi.os.errno).map(([name, number]) => [number, name]))
  // Of whichever C library this process runs on.
  const ioctl = koffi.load(null).func('ioctl', 'int', ['int', 'ulong', 'void *'])
  return {
    addressOf: bytes => koffi.address(bytes),
    call: (fd, request, argument) =>
      new Promise((resolve, reject) => {
        ioctl.async(fd, request, argument, (error: Error | null, result: number) => {
          if (error !== null) return reject(error)
          if (result >= 0) return resolve()
          const code = names.get(koffi.errno()) ?? `errno ${koffi.errno()}`
          reject(Object.assign(new Error(`ioctl 0x${request.toString(16)}: ${code}`), { code }))
        })
      }),
  }
}
