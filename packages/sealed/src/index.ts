export { canonicalJson, canonicalJsonBytes } from './canonical-json.ts'
export { type DatasetCode, DatasetError } from './dataset/errors.ts'
export { type DatasetHead, datasetHeadFrom, type Expectation, headOf } from './dataset/head.ts'
export { type LayOutOptions, layOut, type PartWithKey, plaintextBytes } from './dataset/lay-out.ts'
export {
  encodeManifest,
  MANIFEST_NAME,
  MAX_DATASET_VERSION,
  MAX_MANIFEST_SIZE,
  MAX_PARTS,
  type Manifest,
  type ManifestDigest,
  type ManifestPart,
  manifestDigest,
  manifestDigestFrom,
  manifestNameOf,
  parseManifest,
} from './dataset/manifest.ts'
export {
  openDataset,
  openPart,
  openUnlistedPart,
  readUnverifiedManifest,
  type VerifiedDataset,
  type VerifiedPart,
} from './dataset/open.ts'
export { isPartPath, MAX_PART_PATH, pathOfPart } from './dataset/part-path.ts'
export { filesBelow, type PlainFile } from './dataset/plain-files.ts'
export {
  type SignManifest,
  signManifest,
  type VerifiedManifest,
  verifyManifest,
} from './dataset/signature.ts'
export {
  type CommitOptions,
  createDatasetWriter,
  type DatasetPartWriter,
  type DatasetWriter,
  type DatasetWriterOptions,
  type NewPartOptions,
  type PartContext,
} from './dataset/write.ts'
export {
  encodeWriterKey,
  parseWriterKey,
  type WriterKeyId,
  writerKeyId,
} from './dataset/writer-key.ts'
export { DEK_LENGTH, Dek } from './dek.ts'
export { CodedError, type SealedFormatCode, SealedFormatError } from './errors.ts'
export {
  type Brand,
  type DatasetId,
  datasetIdFrom,
  encodeSealedHeader,
  encodeWrapContext,
  type FileId,
  type FixedPart,
  fileIdFrom,
  fixedPart,
  HEADER_ALIGNMENT,
  HEADER_PREFIX_LENGTH,
  headerBytes,
  MAX_HEADER_LENGTH,
  MAX_SLOTS,
  MAX_WRAPPED_DEK,
  newDatasetId,
  newFileId,
  parseSealedHeader,
  type Sha256,
  type Slot,
  SUITE,
  sealedHeaderLength,
  slotFor,
  type UnverifiedHeader,
  type VerifiedHeader,
  verifyHeader,
} from './header.ts'
export { type CbcCode, CbcError, readUnauthenticatedCbc } from './legacy/unauthenticated-cbc.ts'
export {
  ciphertextLength,
  DEFAULT_SEGMENT_SIZE,
  encryptPayload,
  MAX_ASSOCIATED_DATA,
  MAX_SEGMENT_SIZE,
  MIN_SEGMENT_SIZE,
  PAYLOAD_HEADER_LENGTH,
  PayloadDecrypter,
  type PayloadDecrypterOptions,
  PayloadEncrypter,
  type PayloadEncrypterOptions,
  type PayloadLayout,
  payloadLayout,
  plaintextLength,
  segmentCiphertextRange,
  TAG_LENGTH,
} from './payload.ts'
export { type PoolCode, PoolError } from './pool/errors.ts'
export {
  createSegmentPool,
  type OpenedSegments,
  SEGMENT_WORKER,
  type SegmentPool,
  type SegmentPoolOptions,
} from './pool/pool.ts'
export {
  openSealedFile,
  plaintextSize,
  type SealedFileReader,
  type SegmentRange,
} from './reader.ts'
export { isRewrapCopy, replaceHeader, replaceSlots } from './rewrap.ts'
export { createSealedFile, type SealedFileSummary, type SealedFileWriter } from './writer.ts'
