// node generate.mjs ROWS [SEED] > people.csv: people who are not, with their ages and jobs.
import { pick, seeded } from '../random.mjs'

const JOBS = ['Developer', 'Engineer', 'Researcher']
const LETTERS = [...'abcdefghijklmnopqrstuvwxyz']

const rows = Number(process.argv[2] ?? 1000)
const random = seeded(Number(process.argv[3] ?? 7))
const between = (least, most) => least + Math.floor(random() * (most - least + 1))
const lines = ['name,age,job\n']
for (let i = 0; i < rows; i++) {
  const name = Array.from({ length: between(3, 7) }, () => pick(random, LETTERS)).join('')
  lines.push(`${name},${between(18, 60)},${pick(random, JOBS)}\n`)
}
process.stdout.write(lines.join(''))
