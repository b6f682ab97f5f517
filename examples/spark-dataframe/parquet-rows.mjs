// node parquet-rows.mjs FOLDER: what a folder's Parquet files hold, as CSV without its header.
import { DuckDBInstance } from '@duckdb/node-api'

const database = await (await DuckDBInstance.create()).connect()
const rows = await database.runAndReadAll(`FROM '${process.argv[2]}/*.parquet'`)
for (const row of rows.getRowsJson()) console.log(row.join(','))
