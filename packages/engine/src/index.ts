export {
  type ContextOptions,
  type ContextStatistics,
  PpmlContext,
  type QueryResult,
  type TableReader,
  type TableWriter,
} from './context/context.ts'
export type { SealedPart, SealedSource } from './context/source.ts'
export type { CsvOptions, JsonOptions } from './csv/streamed-table.ts'
export type { Column } from './duckdb/database.ts'
export { EngineError, type EngineErrorCode } from './errors.ts'
export { queryRunnerDefinition } from './image/query-runner.ts'
export {
  type JobFile,
  JobFileSchema,
  jobStatementOf,
  parseJobFile,
  readJobFile,
} from './job/job-file.ts'
export {
  measurementOf,
  type RunJobOptions,
  type RunOnSgxOptions,
  runJobFile,
  runJobOnSgx,
  statementOf,
  teeOfImage,
} from './job/run.ts'
export type { OutputFormat, TableSink } from './output/write.ts'
export { type PeopleFacts, type PeopleOptions, writePeople } from './people/people.ts'
