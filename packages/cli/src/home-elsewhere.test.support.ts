import { once } from 'node:events'
import { cp, readFile, writeFile } from 'node:fs/promises'
import { type AddressInfo, createServer } from 'node:net'
import { join } from 'node:path'

/** A home whose key service is somebody who hangs up, and counts who called. */
export interface HomeElsewhere {
  connections(): number
  close(): void
}

/** Copies a home folder, and pins the key service of the copy to where nobody but the test listens. */
export async function homeElsewhere(home: string, elsewhere: string): Promise<HomeElsewhere> {
  let connections = 0
  const listener = createServer(socket => {
    connections += 1
    socket.destroy()
  })
  await once(listener.listen(0, '127.0.0.1'), 'listening')
  const { port } = listener.address() as AddressInfo
  const data = join(home, 'kms')
  await cp(home, elsewhere, { recursive: true, filter: source => source !== data })
  const pin = JSON.parse(await readFile(join(home, 'kms.json'), 'utf8'))
  const url = `https://127.0.0.1:${port}`
  await writeFile(join(elsewhere, 'kms.json'), JSON.stringify({ ...pin, url }))
  return { connections: () => connections, close: () => listener.close() }
}
