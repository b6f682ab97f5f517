/**
 * node check.mjs TABLES RESULT: whether DuckDB, another engine, finds the same by the same queries.
 * Spark rounds averages and quotients of decimals to six places; DuckDB does not.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { DuckDBInstance } from '@duckdb/node-api'

const [tables, result] = process.argv.slice(2)
const queries = readFileSync(new URL('queries.sql', import.meta.url), 'utf8').split(/^-- \d+\n/m)
const database = await (await DuckDBInstance.create()).connect()
const rowsOf = async query => (await database.runAndReadAll(query)).getRowsJson()

for (const table of readdirSync(tables)) {
  await database.run(`CREATE VIEW ${table} AS FROM '${tables}/${table}/*.parquet'`)
}
for (const [number, query] of queries.entries()) {
  if (number === 0) continue
  const files = `${result}/q${`${number}`.padStart(2, '0')}/part-*.csv`
  const seen = await rowsOf(`FROM read_csv('${files}', header = true, all_varchar = true)`)
  const wanted = await rowsOf(query)
  const differs = wanted.findIndex((row, at) => !isSame(row, seen[at]))
  if (seen.length !== wanted.length || differs >= 0) {
    console.error(`query ${number}: ${wanted.length} rows wanted, ${seen.length} seen`)
    console.error(wanted[differs], seen[differs])
    process.exit(1)
  }
}
console.error(`DuckDB finds the same by ${queries.length - 1} queries`)

function isSame(wanted, seen) {
  return wanted.every((cell, column) => {
    if (cell === null) return seen?.[column] === 'NULL'
    const [a, b] = [Number(cell), Number(seen?.[column])]
    if (Number.isNaN(a)) return cell === seen?.[column]
    return Math.abs(a - b) <= 1e-6 + 1e-9 * Math.abs(a)
  })
}
