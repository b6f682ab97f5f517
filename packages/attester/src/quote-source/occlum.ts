import { type FileHandle, open } from 'node:fs/promises'
import { QuoteSourceError } from '../errors.ts'
import { REPORT_DATA_BYTES } from '../evidence.ts'
import { deviceError, errnoOf } from './device-files.ts'
import { type Ioctl, machineIoctl } from './ioctl.ts'
import { assertBears, assertReportDataSize, type QuoteSource } from './quote-source.ts'
import { whenFree } from './when-free.ts'

/** Occlum's device, inside an enclave. */
const DEVICE = '/dev/sgx'

/** SGXIOC_GET_DCAP_QUOTE_SIZE: `_IOR('s', 7, uint32_t)`. */
const GET_DCAP_QUOTE_SIZE = 0x80047307
/** SGXIOC_GEN_DCAP_QUOTE: `_IOWR('s', 8, sgxioc_gen_dcap_quote_arg_t)`. */
const GEN_DCAP_QUOTE = 0xc0187308

const MAX_QUOTE_BYTES = 32 * 1024

/**
 * One buffer for all of a request, as its parts point to each other: `sgxioc_gen_dcap_quote_arg_t`
 * (pointers to the report data, to the length and to the quote), then what these point to.
 */
const LENGTH_AT = 24
const REPORT_DATA_AT = 32
const QUOTE_AT = REPORT_DATA_AT + REPORT_DATA_BYTES

/** Options of {@link occlumSource}. */
export interface OcclumOptions {
  /** Occlum's device, unless told. */
  readonly device?: string
}

/**
 * Occlum's interface for SGX enclaves. Each request has its report data with it, so that requests
 * do not get in each other's way.
 * @see Occlum 0.31, src/libos/src/fs/dev_fs/dev_sgx/mod.rs and consts.rs;
 *   demos/remote_attestation/dcap/c_app/dcap_quote.h
 */
export function occlumSource({ device = DEVICE }: OcclumOptions = {}): QuoteSource {
  return {
    async quote(reportData) {
      assertReportDataSize(reportData)
      try {
        const file = await open(device, 'r')
        try {
          return { evidence: await ask(file, await machineIoctl(), reportData) }
        } finally {
          await file.close()
        }
      } catch (cause) {
        throw occlumError(device, cause)
      }
    },
  }
}

async function ask(
  { fd }: FileHandle,
  { addressOf, call }: Ioctl,
  reportData: Uint8Array,
): Promise<Uint8Array> {
  const size = Buffer.alloc(4)
  await call(fd, GET_DCAP_QUOTE_SIZE, size)
  const room = size.readUInt32LE()
  if (room === 0 || room > MAX_QUOTE_BYTES) {
    throw new QuoteSourceError('DEVICE', `a quote of ${room} bytes was announced`)
  }
  const request = Buffer.alloc(QUOTE_AT + room)
  const at = addressOf(request)
  request.writeBigUInt64LE(at + BigInt(REPORT_DATA_AT), 0)
  request.writeBigUInt64LE(at + BigInt(LENGTH_AT), 8)
  request.writeBigUInt64LE(at + BigInt(QUOTE_AT), 16)
  request.writeUInt32LE(room, LENGTH_AT)
  request.set(reportData, REPORT_DATA_AT)
  await whenFree(() => call(fd, GEN_DCAP_QUOTE, request))
  const length = request.readUInt32LE(LENGTH_AT)
  if (length > room) {
    throw new QuoteSourceError('DEVICE', `${length} bytes came where ${room} have room`)
  }
  const quote = new Uint8Array(request.subarray(QUOTE_AT, QUOTE_AT + length))
  assertBears(quote, reportData)
  return quote
}

/** Occlum's virtual file system has one error for whatever fails in a device: EINVAL. */
function occlumError(device: string, cause: unknown): QuoteSourceError {
  return errnoOf(cause) === 'EINVAL'
    ? new QuoteSourceError(
        'DEVICE',
        `${device} failed (EINVAL, as Occlum says of any failure): was the enclave built for hardware, and can the host quote (DCAP driver, AESM, PCCS)?`,
        { cause },
      )
    : deviceError(device, cause)
}
