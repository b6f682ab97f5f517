// Job files and their runs, for commands that are to begin at once: loads no database.
export {
  type JobFile,
  jobStatementOf,
  movePaths,
  type PathUse,
  parseJobFile,
  readJobFile,
} from './job-file.ts'
export {
  measurementOf,
  programOfImage,
  type RunJobOptions,
  type RunOnSgxOptions,
  runJobFile,
  runJobOnSgx,
  type ServeJobOptions,
  serveJobFile,
  statementOf,
  teeOfImage,
} from './run.ts'
