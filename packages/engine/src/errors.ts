import { CodedError } from '@cloister/sealed'

/**
 * What went wrong in the engine.
 *
 * - `SQL` the text does not parse, or names what is not there;
 * - `NOT_SELECT` a statement other than one SELECT;
 * - `DATA` a value that does not fit its column, or a file that is not of its format;
 * - `COLUMN` a column that was named and is absent;
 * - `FORMAT` a file that is not what its format wants;
 * - `PARQUET` a Parquet file whose footer cannot be used, or a chunk touched that was not opened;
 * - `MEMORY_LIMIT` more memory wanted than the job was given;
 * - `INPUT` and `OUTPUT` a table or file that cannot be read or written;
 * - `JOB` a job file that cannot be used;
 * - `REFUSED` something the engine never does, such as touching files of the system;
 * - `CLOSED` a context that was closed.
 */
export type EngineErrorCode =
  | 'SQL'
  | 'NOT_SELECT'
  | 'DATA'
  | 'COLUMN'
  | 'FORMAT'
  | 'PARQUET'
  | 'MEMORY_LIMIT'
  | 'INPUT'
  | 'OUTPUT'
  | 'JOB'
  | 'REFUSED'
  | 'CLOSED'

/** A failure of the engine. Its message never holds a value of the data. */
export class EngineError extends CodedError<EngineErrorCode> {}
