// node generate.mjs REQUESTS > access.log: a day of a made-up hospital's web server.
import { pick, seeded } from '../random.mjs'

const PAGES = ['/', '/login', '/patients', '/appointments', '/laboratory', '/reports/monthly']
const STATUS = [200, 200, 200, 200, 200, 200, 304, 302, 403, 404, 500]

const requests = Number(process.argv[2] ?? 20_000)
const random = seeded(1)
const lines = []
for (let i = 0; i < requests; i++) {
  const seconds = Math.floor((i * 86_400) / requests)
  const time = new Date(Date.UTC(2026, 2, 2) + seconds * 1000).toISOString().slice(0, 19)
  const page = pick(random, PAGES)
  const patient = page === '/patients' ? `/${Math.floor(random() * 400)}` : ''
  const milliseconds = Math.floor(5 + 900 * random() ** 4)
  lines.push(
    `${time} 10.0.0.${Math.floor(random() * 250)} GET ${page}${patient} ${pick(random, STATUS)} ${milliseconds}\n`,
  )
}
process.stdout.write(lines.join(''))
