// node report.mjs RESULTS FOLDER: what a laboratory found in a quarter, as Markdown and as JSON.
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { DuckDBInstance } from '@duckdb/node-api'

const [source, folder] = process.argv.slice(2)
const database = await DuckDBInstance.create(':memory:')
const connection = await database.connect()

async function rows(sql) {
  return (await connection.runAndReadAll(sql)).getRowObjectsJson()
}

function table(name, found) {
  const columns = Object.keys(found[0] ?? {})
  const lines = [columns, columns.map(() => '---'), ...found.map(row => columns.map(c => row[c]))]
  return `## ${name}\n\n${lines.map(cells => `| ${cells.join(' | ')} |`).join('\n')}\n`
}

await connection.run(
  `CREATE TABLE results AS SELECT * FROM read_csv('${source.replaceAll("'", "''")}')`,
)
const report = {
  'By test': await rows(`
    SELECT test, unit, count(*) AS results, round(median(value), 2) AS median,
           round(quantile_cont(value, 0.025), 2) AS low, round(quantile_cont(value, 0.975), 2) AS high
    FROM results GROUP BY ALL ORDER BY test`),
  'By month and ward': await rows(`
    SELECT strftime(taken, '%Y-%m') AS month, ward, count(*) AS results,
           count(DISTINCT patient) AS patients
    FROM results GROUP BY ALL ORDER BY month, ward`),
  'To be looked at again': await rows(`
    SELECT patient, test, value, unit, strftime(taken, '%Y-%m-%d %H:%M') AS taken
    FROM results
    QUALIFY row_number() OVER (PARTITION BY test ORDER BY value DESC, patient, taken) <= 3
    ORDER BY test, value DESC, patient`),
}

writeFileSync(join(folder, 'report.json'), `${JSON.stringify(report, null, 2)}\n`)
const text = Object.entries(report).map(([name, found]) => table(name, found))
writeFileSync(join(folder, 'report.md'), `# Laboratory, first quarter\n\n${text.join('\n')}`)
console.log(`${Object.keys(report).length} tables`)
