// node generate.mjs ROWS > users.json: made-up users, some without a colour, a line of JSON each.
import { pick, seeded } from '../random.mjs'

const rows = Number(process.argv[2] ?? 500)
const random = seeded(8)
const letters = 'abcdefghijklmnopqrstuvwxyz'
const word = length => Array.from({ length }, () => pick(random, letters)).join('')
const lines = []
for (let id = 1; id <= rows; id++) {
  lines.push(
    JSON.stringify({
      id,
      name: word(3 + Math.floor(5 * random())),
      age: 18 + Math.floor(43 * random()),
      job: pick(random, ['Developer', 'Engineer', 'Researcher']),
      colour: pick(random, ['red', 'green', 'blue', null]),
      numbers: Array.from({ length: Math.floor(4 * random()) }, () => Math.floor(100 * random())),
      joined: `20${10 + Math.floor(15 * random())}-0${1 + Math.floor(9 * random())}-1${Math.floor(10 * random())}`,
    }),
  )
}
process.stdout.write(`${lines.join('\n')}\n`)
