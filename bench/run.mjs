/**
 * Runs the benchmarks and prints one table; `npm run bench -- NAME…` runs those whose name begins
 * so. Writes bench/out/results.json; with `--write`, the whole table into bench/README.md too.
 * Every ratio is within one run on one machine.
 */
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { cpus, totalmem } from 'node:os'
import { fileURLToPath } from 'node:url'

const folder = fileURLToPath(new URL('.', import.meta.url))
const writes = process.argv.includes('--write')
const asked = process.argv.slice(2).filter(argument => argument !== '--write')
if (writes && asked.length > 0) throw new Error('--write writes the whole table: name no benchmark')

const names = readdirSync(folder)
  .filter(name => name.endsWith('.bench.mjs'))
  .filter(name => asked.length === 0 || asked.some(prefix => name.startsWith(prefix)))
  .sort()

const rows = []
for (const name of names) {
  process.stderr.write(`${name}…\n`)
  const { run } = await import(`./${name}`)
  rows.push(...(await run()))
}

const machine = {
  date: new Date().toISOString().slice(0, 10),
  node: process.version,
  cpu: `${cpus().length} × ${cpus()[0]?.model ?? 'unknown'}`,
  memoryGiB: Math.round(totalmem() / 2 ** 30),
}
mkdirSync(`${folder}/out`, { recursive: true })
writeFileSync(`${folder}/out/results.json`, `${JSON.stringify({ machine, rows }, null, 2)}\n`)

const table = [
  `${machine.date}, Node ${machine.node}, ${machine.cpu}, ${machine.memoryGiB} GiB`,
  '',
  '| what | ratio | wanted | measured | baseline |',
  '|---|---|---|---|---|',
  ...rows.map(
    ({ name, ratio, wanted, measured, baseline }) =>
      `| ${name} | ${ratio.toFixed(2)} | ${wanted} | ${measured} | ${baseline} |`,
  ),
].join('\n')
console.log(table)
if (writes) {
  const page = `${folder}/README.md`
  const [before, after] = readFileSync(page, 'utf8').split(/<!-- table -->[\s\S]*<!-- end -->/)
  if (after === undefined) throw new Error(`${page} has no place for the table`)
  writeFileSync(page, `${before}<!-- table -->\n${table}\n<!-- end -->${after}`)
}
