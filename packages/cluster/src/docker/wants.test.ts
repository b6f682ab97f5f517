import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { sgxWants } from './wants.ts'

const folder = mkdtempSync(join(tmpdir(), 'cloister-devices-'))
afterAll(() => rmSync(folder, { recursive: true }))

describe('what an image for SGX wants of its container', () => {
  it('is the devices, whoever may use them, and the socket of who quotes', () => {
    const [device, socket] = [join(folder, 'sgx_enclave'), join(folder, 'aesm.socket')]
    for (const path of [device, socket]) writeFileSync(path, '')
    const { gid } = statSync(device)
    expect(sgxWants([device], socket)).toMatchObject({
      ...{ inside: 'sgx', devices: [device], groups: gid === 0 ? [] : [gid] },
      mounts: [{ source: socket, target: socket, isWritable: true }],
    })
  })

  it('is told where the machine has it not', () => {
    const absent = join(folder, 'absent')
    const message = expect.stringContaining(absent)
    const wanted = () => sgxWants([absent], join(folder, 'aesm.socket'))
    expect(wanted).toThrow(expect.objectContaining({ code: 'DEVICE', message }))
  })
})
