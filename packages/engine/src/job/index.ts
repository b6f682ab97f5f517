// Job files and their runs, for commands that are to begin at once: loads no database.
export { type JobFile, jobStatementOf, parseJobFile, readJobFile } from './job-file.ts'
export {
  measurementOf,
  type RunJobOptions,
  type RunOnSgxOptions,
  runJobFile,
  runJobOnSgx,
  statementOf,
  teeOfImage,
} from './run.ts'
