// node generate.mjs ROWS > loans.csv: made-up loans, and whether each was paid back late.
import { seeded } from '../random.mjs'

const rows = Number(process.argv[2] ?? 2000)
const random = seeded(9)
const lines = ['income,amount,years,age,defaults,late\n']
for (let i = 0; i < rows; i++) {
  const income = 15 + Math.floor(120 * random())
  const amount = 1 + Math.floor(80 * random())
  const years = 1 + Math.floor(10 * random())
  const age = 18 + Math.floor(60 * random())
  const defaults = Math.floor(4 * random() * random())
  const burden = amount / years / income + 0.08 * defaults - (age > 30 && age < 60 ? 0.05 : 0)
  const late = burden + 0.2 * random() > 0.32 ? 1 : 0
  lines.push(`${income},${amount},${years},${age},${defaults},${late}\n`)
}
process.stdout.write(lines.join(''))
