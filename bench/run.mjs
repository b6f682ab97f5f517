/**
 * Runs the benchmarks and prints one table; `npm run bench -- NAME…` runs those whose name begins
 * so. Keeps the rows of each in bench/out; with `--write`, the table in bench/README.md is made of
 * what is kept. Every ratio is within one run on one machine.
 */
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { cpus, totalmem } from 'node:os'
import { fileURLToPath } from 'node:url'

const folder = fileURLToPath(new URL('.', import.meta.url))
const writes = process.argv.includes('--write')
const asked = process.argv.slice(2).filter(argument => argument !== '--write')

const names = readdirSync(folder)
  .filter(name => name.endsWith('.bench.mjs'))
  .map(name => name.slice(0, -'.bench.mjs'.length))
  .sort()
const resultsOf = name => `${folder}/out/${name}.json`
const machine = `Node ${process.version}, ${cpus().length} × ${cpus()[0]?.model ?? 'unknown'}, ${Math.round(totalmem() / 2 ** 30)} GiB`

mkdirSync(`${folder}/out`, { recursive: true })
for (const name of names) {
  if (asked.length > 0 && !asked.some(prefix => `${name}.`.startsWith(prefix))) continue
  process.stderr.write(`${name}…\n`)
  try {
    const { run } = await import(`./${name}.bench.mjs`)
    const date = new Date().toISOString().slice(0, 10)
    const rows = await run()
    writeFileSync(resultsOf(name), `${JSON.stringify({ machine, date, rows }, null, 2)}\n`)
    console.log(tableOf([{ date, rows }]))
  } catch (error) {
    // The others are measured all the same.
    console.error(`${name}:`, error)
    process.exitCode = 1
  }
}

if (writes) {
  const kept = names.map(name => JSON.parse(readFileSync(resultsOf(name), 'utf8')))
  const elsewhere = kept.find(results => results.machine !== machine)
  if (elsewhere !== undefined)
    throw new Error(`measured on ${elsewhere.machine}, this is ${machine}`)
  const page = `${folder}/README.md`
  const [before, after] = readFileSync(page, 'utf8').split(/<!-- table -->[\s\S]*<!-- end -->/)
  if (after === undefined) throw new Error(`${page} has no place for the table`)
  const table = `${machine}\n\n${tableOf(kept)}`
  writeFileSync(page, `${before}<!-- table -->\n${table}\n<!-- end -->${after}`)
}

function tableOf(results) {
  const lines = results.flatMap(({ date, rows }) =>
    rows.map(
      ({ name, ratio, wanted, measured, baseline }) =>
        `| ${name} | ${ratio.toFixed(2)} | ${wanted} | ${measured} | ${baseline} | ${date} |`,
    ),
  )
  return [
    '| what | ratio | wanted | measured | baseline | on |',
    '|---|---|---|---|---|---|',
    ...lines,
  ].join('\n')
}
