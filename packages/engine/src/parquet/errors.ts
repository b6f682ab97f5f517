import { CodedError } from '@cloister/sealed'

/**
 * Why bytes are no usable Parquet footer: `MAGIC` not Parquet at all, `ENCRYPTED` Parquet's own
 * encryption, `TRUNCATED` cut off, `THRIFT` not the compact protocol, `METADATA` fields that are
 * absent or contradict each other, `LIMIT` larger than is read.
 */
export type ParquetFooterCode =
  | 'MAGIC'
  | 'ENCRYPTED'
  | 'TRUNCATED'
  | 'THRIFT'
  | 'METADATA'
  | 'LIMIT'

/** Thrown for everything that a Parquet footer can have wrong. */
export class ParquetFooterError extends CodedError<ParquetFooterCode> {}
