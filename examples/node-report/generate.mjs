// node generate.mjs RESULTS > results.csv: made-up results of a made-up laboratory.
import { pick, seeded } from '../random.mjs'

/** Mean and spread of each test, and what it is measured in. */
const TESTS = {
  glucose: [5.2, 0.9, 'mmol/l'],
  haemoglobin: [140, 14, 'g/l'],
  potassium: [4.2, 0.4, 'mmol/l'],
  sodium: [140, 3, 'mmol/l'],
}

const results = Number(process.argv[2] ?? 50_000)
const random = seeded(3)
const lines = ['patient,ward,taken,test,value,unit\n']
for (let i = 0; i < results; i++) {
  const test = pick(random, Object.keys(TESTS))
  const [mean, spread, unit] = TESTS[test]
  const value = mean + spread * (random() + random() + random() + random() - 2) * 1.7
  const taken = new Date(Date.UTC(2026, 0, 1) + Math.floor(random() * 90 * 86_400) * 1000)
  const patient = 1000 + Math.floor(random() * 4000)
  lines.push(
    `${patient},${pick(random, ['A1', 'A2', 'B1', 'ICU'])},${taken.toISOString().slice(0, 19)},${test},${value.toFixed(2)},${unit}\n`,
  )
}
process.stdout.write(lines.join(''))
