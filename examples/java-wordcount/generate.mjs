// node generate.mjs FOLDER LETTERS: made-up doctors' letters, a file each.
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pick, seeded } from '../random.mjs'

const SUBJECTS = ['The patient', 'Mr Müller', 'Mrs Øverland', 'The child', 'Our colleague']
const VERBS = ['reports', 'denies', 'describes', 'has had', 'was treated for']
const OBJECTS = [
  'headache',
  'fever',
  'chest pain',
  'fatigue',
  'a cough',
  'dizziness',
  'no complaint',
]
const TIMES = ['since Monday', 'for three weeks', 'at night', 'after exercise', 'as a child']

const [folder = 'letters', letters = '200'] = process.argv.slice(2)
const random = seeded(4)
mkdirSync(folder, { recursive: true })
for (let letter = 1; letter <= Number(letters); letter++) {
  const sentences = []
  for (let n = 0; n < 20 + 40 * random(); n++) {
    const words = [SUBJECTS, VERBS, OBJECTS, TIMES].map(list => pick(random, list))
    sentences.push(`${words.join(' ')}.`)
  }
  const name = `letter-${String(letter).padStart(4, '0')}.txt`
  writeFileSync(join(folder, name), `${sentences.join('\n')}\n`)
}
