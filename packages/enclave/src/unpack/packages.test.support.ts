import { createHash } from 'node:crypto'
import { crc32, gzipSync } from 'node:zlib'
import { type Header, pack } from 'tar-stream'
import type { Artefact, ArtefactOf } from '../lock/format.ts'
import type { Store } from '../store/store.ts'

/** One entry of a tar archive; anything at all can be asked for. */
export type TarEntry = Partial<Header> & {
  readonly name: string
  readonly content?: string | Uint8Array
}

/** A tar archive of exactly these entries. */
export async function makeTar(entries: readonly TarEntry[]): Promise<Buffer> {
  const writing = pack()
  for (const { content, ...header } of entries) {
    const bytes = Buffer.from(content ?? '')
    writing.entry({ type: 'file', mode: 0o644, ...header, size: bytes.length } as Header, bytes)
  }
  writing.finalize()
  const pieces: Uint8Array[] = []
  for await (const piece of writing) pieces.push(piece as Uint8Array)
  return Buffer.concat(pieces)
}

/** An npm package or source archive of exactly these entries. */
export async function makeTarball(entries: readonly TarEntry[]): Promise<Buffer> {
  return gzipSync(await makeTar(entries))
}

function arMember(name: string, bytes: Uint8Array): Buffer {
  // ar(5): name, time, owner, group, mode, size, each padded with spaces.
  const fields = [name.padEnd(16), '0'.padEnd(12), '0'.padEnd(6), '0'.padEnd(6), '100644'.padEnd(8)]
  const header = Buffer.from(`${fields.join('')}${`${bytes.length}`.padEnd(10)}\u0060\n`, 'latin1')
  return Buffer.concat([header, bytes, Buffer.alloc(bytes.length % 2, '\n')])
}

/** A Debian package whose data archive holds exactly these entries. @see deb(5) */
export async function makeDeb(
  fields: { readonly name: string; readonly version: string },
  entries: readonly TarEntry[],
): Promise<Buffer> {
  const control = `Package: ${fields.name}\nVersion: ${fields.version}\nArchitecture: amd64\nMaintainer: nobody <nobody@example.org>\nDescription: test\n`
  return Buffer.concat([
    Buffer.from('!<arch>\n'),
    arMember('debian-binary', Buffer.from('2.0\n')),
    arMember('control.tar', await makeTar([{ name: './control', content: control }])),
    arMember('data.tar', await makeTar(entries)),
  ])
}

/** One entry of a zip file; stored, not deflated. */
export interface ZipEntry {
  readonly name: string
  readonly content: string | Uint8Array
  /** Unix mode with its type bits. */
  readonly mode?: number
  /** Said to be this long, whatever it is. */
  readonly claimedSize?: number
}

/** A zip file of exactly these entries. @see APPNOTE.TXT, 4.3 */
export function makeZip(entries: readonly ZipEntry[]): Buffer {
  const locals: Buffer[] = []
  const directory: Buffer[] = []
  let offset = 0
  for (const { name, content, mode = 0o100644, claimedSize } of entries) {
    const bytes = Buffer.from(content)
    const title = Buffer.from(name)
    const common = Buffer.alloc(26)
    common.writeUInt16LE(20, 0)
    common.writeUInt16LE(0x0800, 2)
    common.writeUInt32LE(crc32(bytes), 10)
    common.writeUInt32LE(bytes.length, 14)
    common.writeUInt32LE(claimedSize ?? bytes.length, 18)
    common.writeUInt16LE(title.length, 22)
    const local = Buffer.concat([Buffer.from('504b0304', 'hex'), common, title, bytes])
    const rest = Buffer.alloc(14)
    rest.writeUInt32LE(mode * 0x10000, 6)
    rest.writeUInt32LE(offset, 10)
    // Made on Unix.
    directory.push(Buffer.concat([Buffer.from('504b01021403', 'hex'), common, rest, title]))
    locals.push(local)
    offset += local.length
  }
  const size = directory.reduce((sum, { length }) => sum + length, 0)
  const end = Buffer.alloc(22)
  end.write('504b0506', 'hex')
  end.writeUInt16LE(entries.length, 8)
  end.writeUInt16LE(entries.length, 10)
  end.writeUInt32LE(size, 12)
  end.writeUInt32LE(offset, 16)
  return Buffer.concat([...locals, ...directory, end])
}

/** A wheel of these files, with a RECORD that is right unless another is given. */
export function makeWheel(
  project: string,
  version: string,
  files: readonly ZipEntry[],
  record?: (rows: readonly string[]) => readonly string[],
): Buffer {
  const info = `${project}-${version}.dist-info`
  const all: ZipEntry[] = [
    ...files,
    {
      name: `${info}/METADATA`,
      content: `Metadata-Version: 2.1\nName: ${project}\nVersion: ${version}\n\ntext`,
    },
    { name: `${info}/WHEEL`, content: 'Wheel-Version: 1.0\n' },
  ]
  const rows = all.map(({ name, content }) => {
    const digest = createHash('sha256').update(content).digest('base64url')
    return `${name},sha256=${digest},${Buffer.from(content).length}`
  })
  const written = [...(record?.(rows) ?? rows), `${info}/RECORD,,`].join('\n')
  return makeZip([...all, { name: `${info}/RECORD`, content: `${written}\n` }])
}

type Fields<Kind extends Artefact['kind']> = Omit<ArtefactOf<Kind>, 'size' | 'sha256' | 'purl'>

/** Puts a package in a store, and says what a lock would say of it. */
export async function stored<Kind extends Artefact['kind']>(
  store: Store,
  bytes: Uint8Array,
  fields: Fields<Kind>,
): Promise<ArtefactOf<Kind>> {
  const { size, sha256 } = await store.put([bytes])
  const { kind, name, version } = fields as unknown as Artefact
  const purl = `pkg:${kind}/${name.replace(':', '/')}@${version}`
  return { ...fields, purl, size, sha256 } as unknown as ArtefactOf<Kind>
}

/** An integrity of the form that npm writes. */
export function integrityOf(bytes: Uint8Array): string {
  return `sha512-${createHash('sha512').update(bytes).digest('base64')}`
}
