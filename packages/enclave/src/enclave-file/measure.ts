import type { FileHandle } from 'node:fs/promises'
import { join } from 'node:path'
import { requireGraminePal } from '../backends/gramine/pal.ts'
import { verifyGramine } from '../backends/gramine/verify.ts'
import { SIGNED_LIBOS } from '../backends/occlum/signed-libos.ts'
import { openRegular } from '../image/files.ts'
import { openImage } from '../image/verify.ts'
import { fileSource } from '../measurement/byte-source.ts'
import { SgxsMeasurer } from '../measurement/measure.ts'
import { measureSdkEnclave } from '../measurement/sdk-elf/measure.ts'
import { SIGSTRUCT_SIZE } from '../sigstruct/format.ts'
import { EnclaveFileError } from './errors.ts'
import { type EnclaveFileKind, enclaveFileKind } from './kind.ts'

const PIECE = 2 ** 20

/** One enclave of a file. Those of the Intel SDK hold one for each version of the metadata. */
export interface MeasuredEnclave {
  /** What tells it from the file's others, such as `metadata 2.4`; undefined where there are none. */
  readonly name: string | undefined
  /** MRENCLAVE as computed from the content, 32 bytes; undefined for a SIGSTRUCT alone. */
  readonly mrEnclave: Uint8Array | undefined
  /** 1808 bytes that nothing has verified; undefined where there are none. */
  readonly sigstruct: Uint8Array | undefined
}

/** What holds enclaves, measured. */
export interface MeasuredFile {
  readonly kind: EnclaveFileKind
  readonly enclaves: readonly MeasuredEnclave[]
}

/** Runs `use` with an open file. */
export async function withFile<T>(
  path: string,
  use: (file: FileHandle, size: number) => Promise<T>,
): Promise<T> {
  const file = await openRegular(path)
  try {
    const stats = await file.stat()
    if (!stats.isFile()) throw new EnclaveFileError('KIND', `${path}: wanted a file`)
    return await use(file, stats.size)
  } finally {
    await file.close()
  }
}

/** Reads a SIGSTRUCT's bytes. @throws EnclaveFileError with `KIND` for a file of another length. */
export async function readSigstructFile(path: string): Promise<Uint8Array> {
  return await withFile(path, async (file, size) => {
    if (size === SIGSTRUCT_SIZE) return new Uint8Array(await file.readFile())
    throw new EnclaveFileError(
      'KIND',
      `${path}: a SIGSTRUCT has ${SIGSTRUCT_SIZE} bytes, not ${size}`,
    )
  })
}

/** What measuring may need beside the file itself. */
export interface MeasureOptions {
  /** The SIGSTRUCT of an SGXS stream, which stands in a file of its own. */
  readonly sigstructFile?: string
  /** Gramine's `libpal.so`; as it is installed unless told. */
  readonly libpal?: string
}

/**
 * Measures what holds enclaves. What its files say of themselves is not believed: MRENCLAVE is
 * computed from the content.
 * @throws EnclaveFileError, BackendError, ImageError, SgxsError, SdkEnclaveError
 */
export async function measureEnclaveFile(
  path: string,
  { libpal, sigstructFile }: MeasureOptions = {},
): Promise<MeasuredFile> {
  const kind = await enclaveFileKind(path)
  switch (kind) {
    case 'image': {
      const { measurement, sigstructBytes } = await openImage(path)
      const mrEnclave = new Uint8Array(Buffer.from(measurement, 'hex'))
      return { kind, enclaves: [{ name: undefined, mrEnclave, sigstruct: sigstructBytes }] }
    }
    case 'sgxs': {
      const mrEnclave = await measureSgxsFile(path)
      const sigstruct =
        sigstructFile === undefined ? undefined : await readSigstructFile(sigstructFile)
      return { kind, enclaves: [{ name: undefined, mrEnclave, sigstruct }] }
    }
    case 'gramine': {
      const verified = await verifyGramine(path, requireGraminePal(libpal))
      const mrEnclave = new Uint8Array(Buffer.from(verified.measurement, 'hex'))
      const sigstruct = verified.sigstructBytes
      return { kind, enclaves: [{ name: undefined, mrEnclave, sigstruct }] }
    }
    case 'occlum': {
      const { enclaves } = await measureEnclaveFile(join(path, SIGNED_LIBOS))
      return { kind, enclaves }
    }
    case 'sdk-elf': {
      const measured = await withFile(path, (file, size) =>
        measureSdkEnclave(fileSource(file, size)),
      )
      const enclaves = measured.map(({ metadataVersion, mrEnclave, sigstruct }) => ({
        name: `metadata ${metadataVersion}`,
        mrEnclave,
        sigstruct,
      }))
      return { kind, enclaves }
    }
    case 'sigstruct': {
      const sigstruct = await readSigstructFile(path)
      return { kind, enclaves: [{ name: undefined, mrEnclave: undefined, sigstruct }] }
    }
  }
}

async function measureSgxsFile(path: string): Promise<Uint8Array> {
  return await withFile(path, async file => {
    const measurer = new SgxsMeasurer()
    const buffer = Buffer.alloc(PIECE)
    for (;;) {
      const { bytesRead } = await file.read(buffer, 0, PIECE, null)
      if (bytesRead === 0) return measurer.finish().mrEnclave
      measurer.update(buffer.subarray(0, bytesRead))
    }
  })
}
