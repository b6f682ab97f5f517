import { randomBytes } from 'node:crypto'
import { open, readdir, readFile, rename, rm } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import { SIGNED_LIBOS } from '../backends/occlum/signed-libos.ts'
import { syncFolder, writeNew } from '../image/files.ts'
import { IMAGE_SIGNING_DATE, imageSigstruct } from '../image/pages.ts'
import { verifyImage } from '../image/verify.ts'
import { fileSource } from '../measurement/byte-source.ts'
import { measureSdkEnclave } from '../measurement/sdk-elf/measure.ts'
import { parseSigstruct, type SigstructFields } from '../sigstruct/format.ts'
import { verifySigstruct } from '../sigstruct/sign.ts'
import { EnclaveFileError } from './errors.ts'
import { enclaveFileKind } from './kind.ts'
import { measureEnclaveFile, readSigstructFile, withFile } from './measure.ts'

/** What the signer states beside the measurement; what is absent stays as it is. */
export interface SignedStatements {
  readonly isvProdId?: number
  readonly isvSvn?: number
  /** An enclave whose memory the host can read. */
  readonly debugEnclave?: boolean
  /** Eight digits, YYYYMMDD. Part of what is signed: another date is another SIGSTRUCT. */
  readonly date?: string
  /** Where the result goes; in place unless told. Of an SGXS stream, its SIGSTRUCT. */
  readonly out?: string
}

/** What is to be signed, and where the SIGSTRUCTs go. */
export interface SigningTarget {
  /** What each signature is to cover; several for an enclave with several versions of metadata. */
  readonly fields: readonly SigstructFields[]
  /**
   * Writes the SIGSTRUCTs, one for each of `fields`: all or none.
   * @returns the path of what was written
   */
  write(sigstructs: readonly Uint8Array[]): Promise<string>
}

const MODE64BIT = 4n
const DEBUG = 2n
const X87_AND_SSE = 3n
const ALL = 0xffff_ffff_ffff_ffffn
// All but AVX, AVX-512 and AMX, which a host may offer or not: as Gramine masks them.
const XFRM_MASK = 0xffff_ffff_fff9_ff1bn

/** What is stated of an enclave that nobody has signed yet. */
const UNSIGNED: Omit<SigstructFields, 'enclaveHash'> = {
  debugSigned: false,
  vendor: 0,
  date: IMAGE_SIGNING_DATE,
  swDefined: 0,
  miscSelect: 0,
  miscMask: 0xffff_ffff,
  cetAttributes: 0,
  cetAttributesMask: 0xff,
  isvFamilyId: new Uint8Array(16),
  attributes: { flags: MODE64BIT, xfrm: X87_AND_SSE },
  attributesMask: { flags: ALL, xfrm: XFRM_MASK },
  isvExtProdId: new Uint8Array(16),
  isvProdId: 0,
  isvSvn: 0,
}

/** Fields with what the signer states; DEBUG is decided by the signer and never left to the host. */
function stated(fields: SigstructFields, statements: SignedStatements): SigstructFields {
  const { attributes, attributesMask } = fields
  const debug = statements.debugEnclave === true ? DEBUG : 0n
  return {
    ...fields,
    isvProdId: statements.isvProdId ?? fields.isvProdId,
    isvSvn: statements.isvSvn ?? fields.isvSvn,
    date: statements.date ?? fields.date,
    attributes: { ...attributes, flags: (attributes.flags & ~DEBUG) | debug },
    attributesMask: { ...attributesMask, flags: attributesMask.flags | DEBUG },
  }
}

/**
 * Finds out what signing a file or folder means. An image folder must verify, whoever signed it
 * before; of an enclave of the Intel SDK and of an SGXS stream, MRENCLAVE is computed; of a SIGSTRUCT
 * alone, which must verify, all is kept but the signature.
 * @throws EnclaveFileError, ImageError, SigstructError, SgxsError, SdkEnclaveError
 */
export async function openSigningTarget(
  path: string,
  statements: SignedStatements = {},
): Promise<SigningTarget> {
  const kind = await enclaveFileKind(path)
  switch (kind) {
    case 'image':
      return await imageTarget(path, statements)
    case 'sdk-elf':
      return await sdkTarget(path, statements)
    case 'occlum':
      return await sdkTarget(join(path, SIGNED_LIBOS), statements)
    case 'gramine':
      return await openSigningTarget(join(path, await gramineSigstruct(path)), statements)
    case 'sgxs': {
      const { enclaves } = await measureEnclaveFile(path)
      const enclaveHash = enclaves[0]?.mrEnclave ?? new Uint8Array(0)
      const fields = stated({ ...UNSIGNED, enclaveHash }, statements)
      return oneFile(fields, statements.out ?? path.replace(/(\.sgxs)?$/, '.sig'), false)
    }
    case 'sigstruct': {
      const fields = stated(verifySigstruct(await readSigstructFile(path)), statements)
      return oneFile(fields, statements.out ?? path, statements.out === undefined)
    }
  }
}

/** The one SIGSTRUCT of a folder made ready for Gramine. */
async function gramineSigstruct(folder: string): Promise<string> {
  const [name, ...others] = (await readdir(folder)).filter(found => found.endsWith('.sig'))
  if (name !== undefined && others.length === 0) return name
  throw new EnclaveFileError('KIND', `${folder}: wanted one SIGSTRUCT, named NAME.sig`)
}

function oneFile(fields: SigstructFields, out: string, replace: boolean): SigningTarget {
  return {
    fields: [fields],
    write: async ([sigstruct = new Uint8Array(0)]) => await writeResult(out, sigstruct, replace),
  }
}

/** What an image states is in its manifest, and cannot be stated otherwise by who signs it. */
async function imageTarget(path: string, statements: SignedStatements): Promise<SigningTarget> {
  const { isvProdId, isvSvn, debugEnclave, date, out } = statements
  const given = { isvProdId, isvSvn, debugEnclave, date, out }
  const odd = Object.entries(given).find(([, value]) => value !== undefined && value !== false)
  if (odd !== undefined) {
    const message = `an image's ${odd[0]} is in its definition: build it again to change it`
    throw new EnclaveFileError('KIND', message)
  }
  const { manifest, sigstruct, folder } = await verifyImage(path)
  const fields = imageSigstruct(manifest, sigstruct.enclaveHash)
  return oneFile(fields, join(folder, 'sigstruct.bin'), true)
}

async function sdkTarget(path: string, statements: SignedStatements): Promise<SigningTarget> {
  const measured = await withFile(path, (file, size) => measureSdkEnclave(fileSource(file, size)))
  const fields = measured.map(({ sigstruct, mrEnclave }) =>
    stated({ ...parseSigstruct(sigstruct), enclaveHash: mrEnclave }, statements),
  )
  return {
    fields,
    async write(sigstructs) {
      const bytes = await readFile(path)
      for (const [index, { sigstructOffset }] of measured.entries()) {
        bytes.set(sigstructs[index] ?? [], sigstructOffset)
      }
      return await writeResult(statements.out ?? path, bytes, statements.out === undefined)
    },
  }
}

/** Writes a file, whole or not at all; over another only where that is meant. */
async function writeResult(out: string, bytes: Uint8Array, replace: boolean): Promise<string> {
  const path = resolve(out)
  const temporary = `${path}.${randomBytes(6).toString('hex')}.tmp`
  try {
    if (!replace) await open(path, 'wx').then(file => file.close())
  } catch (cause) {
    throw new EnclaveFileError('EXISTS', `${path} cannot be made, or exists already`, { cause })
  }
  try {
    await writeNew(temporary, bytes, 0o644)
    await rename(temporary, path)
    await syncFolder(dirname(path))
  } catch (cause) {
    await rm(temporary, { force: true })
    throw new EnclaveFileError('WRITE', `cannot write ${path}`, { cause })
  }
  return path
}
