// node generate.mjs ROWS > dose.csv: a made-up response to a made-up dose: 2.36 + 1.58 x, and noise.
import { seeded } from '../random.mjs'

const rows = Number(process.argv[2] ?? 1000)
const random = seeded(2)
const lines = ['dose,response\n']
for (let i = 0; i < rows; i++) {
  const dose = 10 * random()
  // The sum of twelve is close to normal, with a variance of one.
  let noise = -6
  for (let n = 0; n < 12; n++) noise += random()
  lines.push(`${dose.toFixed(6)},${(2.36 + 1.58 * dose + noise).toFixed(6)}\n`)
}
process.stdout.write(lines.join(''))
