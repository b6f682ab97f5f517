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
export * from './job/index.ts'
export { JobFileSchema } from './job/job-file.ts'
export type { OutputFormat, TableSink } from './output/write.ts'
export { type PeopleFacts, type PeopleOptions, writePeople } from './people/people.ts'
