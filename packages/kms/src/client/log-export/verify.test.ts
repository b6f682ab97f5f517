import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import fc from 'fast-check'
import { beforeAll, describe, expect, it } from 'vitest'
import { World } from '../../server/flow.test.support.ts'
import { KmsClient } from '../kms-client.ts'
import { bytesOf, exporter } from './export.test.fixture.ts'
import { type LogVerdict, verifyLogExport } from './verify.ts'
import { exportLog } from './write.ts'

let log: Awaited<ReturnType<typeof exporter>>
let lines: readonly string[]

const SIZE = 70
const PAGE = 16

beforeAll(async () => {
  log = await exporter()
  lines = [...log.linesOf(SIZE, PAGE)]
})

const verify = (all: readonly string[], chunkBytes?: number): Promise<LogVerdict> =>
  verifyLogExport(bytesOf(all, chunkBytes), { pin: log.pin })

/** The line of a row. */
const at = (row: number): number => lines.findIndex(line => line.startsWith(`row\t${row}\t`))

const found = async (all: readonly string[]) => {
  const { findings, verdict } = await verify(all)
  expect(verdict).toBe(findings.length === 0 ? 'intact' : 'altered')
  return findings.map(({ kind, rows }) => [kind, ...new Set(rows)])
}

const hashOf = (leaf: string): string =>
  createHash('sha256').update(Uint8Array.of(0)).update(leaf).digest('hex')

/** A row's line with its text changed; whoever does it well makes the hash anew. */
function edited(line: string, hashToo: boolean): string {
  if (!line.startsWith('row\t')) return line
  const [kind, index, hash, leaf = ''] = line.split('\t')
  const other = leaf.replace('create-key', 'remove-key')
  return [kind, index, hashToo ? hashOf(other) : hash, other].join('\t')
}

/** All rows numbered anew from the first on, as somebody would who wants no gap to be seen. */
function renumbered(all: readonly string[]): string[] {
  let next = 0
  return all.map(line =>
    line.startsWith('row\t') ? line.replace(/^row\t\d+/, `row\t${next++}`) : line,
  )
}

describe('an exported log', () => {
  it('that is as the key service gave it is intact, in chunks of any size', async () => {
    for (const chunkBytes of [1, 7, 300, 1 << 20]) {
      expect(await verify(lines, chunkBytes)).toMatchObject({
        verdict: 'intact',
        size: SIZE,
        rows: SIZE,
        findings: [],
      })
    }
    for (const size of [0, 1, PAGE, PAGE + 1]) {
      expect(await verify([...log.linesOf(size, PAGE)])).toMatchObject({ verdict: 'intact', size })
    }
    const hidden = [...log.linesOf(SIZE, PAGE, index => index % 3 !== 0)]
    expect(await verify(hidden)).toMatchObject({ verdict: 'intact', size: SIZE, rows: 24 })
  })

  it('with a changed row names it, also when its hash was made anew', async () => {
    for (const row of [0, 5, PAGE - 1, PAGE, SIZE - 1]) {
      expect(await found(lines.with(at(row), edited(lines[at(row)] ?? '', false)))).toEqual([
        ['changed', row],
      ])
      const [[kind, first, last] = []] = await found(
        lines.with(at(row), edited(lines[at(row)] ?? '', true)),
      )
      expect([kind, Number(first) <= row, Number(last) >= row]).toEqual(['changed', true, true])
      expect(Number(last) - Number(first)).toBeLessThan(PAGE)
      const hash = (lines[at(row)] ?? '').replace(/\t[0-9a-f]{64}/, `\t${'0'.repeat(64)}`)
      expect(await found(lines.with(at(row), hash))).toEqual([['changed', row]])
    }
  })

  it('with several changed rows names them all, over several pages', async () => {
    let all = lines
    for (const row of [3, 4, 40, 69]) all = all.with(at(row), edited(all[at(row)] ?? '', false))
    expect(await found(all)).toEqual([
      ['changed', 3],
      ['changed', 4],
      ['changed', 40],
      ['changed', 69],
    ])
  })

  it('without a row names it; numbered anew, the page that it was in', async () => {
    for (const row of [0, 17, SIZE - 2]) {
      const without = lines.toSpliced(at(row), 1)
      expect(await found(without)).toEqual([['removed', row]])
      const first = row - (row % PAGE)
      const [finding] = await found(renumbered(without))
      expect(finding?.slice(0, 2)).toEqual(['removed', first])
    }
    // The last of a page may be gone, or another with those behind it numbered anew.
    expect(await found(lines.toSpliced(at(SIZE - 1), 1))).toEqual([['removed', 64, SIZE - 1]])
  })

  it('with a row inserted names it, also when all behind it were numbered anew', async () => {
    const forged = edited(lines[at(20)] ?? '', true)
    expect(await found(lines.toSpliced(at(20), 0, forged))).toContainEqual(['inserted', 20])
    expect(await found(lines.toSpliced(at(20), 0, lines[at(3)] ?? ''))).toEqual([['inserted', 3]])
    const [finding] = await found(renumbered(lines.toSpliced(at(20), 0, forged)))
    expect(finding).toEqual(['inserted', 20])
  })

  it('with rows reordered names them, also when they were numbered anew', async () => {
    const [one = '', two = ''] = [lines[at(33)], lines[at(34)]]
    const swapped = lines.with(at(33), two).with(at(34), one)
    expect(await found(swapped)).toEqual([['reordered', 33]])
    expect(await found(renumbered(swapped))).toEqual([['reordered', 33]])
    const [far = ''] = [lines[at(39)]]
    expect(await found(lines.with(at(33), far).with(at(39), one))).toContainEqual(['reordered', 33])
    // The rows changed places, and the hashes beside them stayed.
    const texts = [one, far].map(line => line.split('\t')[3] ?? '')
    const crossed = lines
      .with(at(33), one.replace(texts[0] ?? '', texts[1] ?? ''))
      .with(at(39), far.replace(texts[1] ?? '', texts[0] ?? ''))
    expect(await found(crossed)).toEqual([
      ['reordered', 33],
      ['reordered', 39],
    ])
  })

  it('with a checkpoint changed, taken away, or of another place says so', async () => {
    const points = lines.flatMap((line, index) => (line.startsWith('checkpoint') ? [index] : []))
    const [first = 0, second = 0] = points
    const cut = lines.toSpliced(first, 1)
    // Others hold, and bound the rows as well.
    expect(await verify(cut)).toMatchObject({ verdict: 'intact' })
    const spoilt = (lines[first] ?? '').replace('\\n16\\n', '\\n15\\n')
    expect((await found(lines.with(first, spoilt)))[0]?.[0]).toBe('checkpoint')
    expect(await found(lines.with(first, lines[second] ?? ''))).not.toEqual([])
    expect(await found(lines.with(second, lines[first] ?? ''))).not.toEqual([])
    const frontier = (lines[second] ?? '').replace(/[0-9a-f]{64}$/, '0'.repeat(64))
    expect((await found(lines.with(second, frontier)))[0]?.[0]).toBe('checkpoint')
  })

  it('that was cut says where, and against a kept checkpoint when it was cut cleanly', async () => {
    const end = lines.findIndex(line => line.startsWith('checkpoint'))
    expect((await found(lines.slice(0, end + 1)))[0]?.slice(0, 2)).toEqual(['removed', PAGE])
    expect((await found(lines.slice(0, -1))).at(-1)?.[0]).toBe('removed')
    // Cut at a checkpoint, with the size in the first line made to fit: an older export.
    const older = lines
      .slice(0, end + 1)
      .with(0, (lines[0] ?? '').replace(`:${SIZE},`, `:${PAGE},`))
    expect(await verify(older)).toMatchObject({ verdict: 'intact', size: PAGE })
    const { checkpoint } = await verify(lines)
    const kept = (all: readonly string[], note: string) =>
      verifyLogExport(bytesOf(all), { pin: log.pin, checkpoint: note })
    expect(await kept(lines, checkpoint)).toMatchObject({ verdict: 'intact' })
    expect(await kept(older, checkpoint)).toMatchObject({
      findings: [{ kind: 'removed', rows: [PAGE, SIZE - 1] }],
    })
    const allowed = { pin: log.pin, checkpoint, allowOlder: true } as const
    const newer = await verifyLogExport(bytesOf(older), allowed)
    expect(newer).toMatchObject({ verdict: 'intact', isOlder: true })
    const { checkpoint: first } = await verify(older)
    expect(await kept(lines, first)).toMatchObject({ verdict: 'intact' })
    const inside = (await verify([...log.linesOf(37, PAGE)])).checkpoint
    expect(await kept(lines, inside)).toMatchObject({ verdict: 'intact' })
  })

  it('that is another history is found out by a kept checkpoint', async () => {
    const { checkpoint } = await verify([...log.linesOf(20, PAGE)])
    const fork = log.linesOf(SIZE, PAGE, () => false, 'another')
    const options = { pin: log.pin, checkpoint }
    expect(await verifyLogExport(bytesOf(fork), options)).toMatchObject({
      verdict: 'altered',
      findings: [{ kind: 'changed', rows: [PAGE, 19] }],
    })
    const other = await exporter()
    const foreign = verifyLogExport(bytesOf(other.linesOf(SIZE, PAGE)), options)
    await expect(foreign).rejects.toMatchObject({ code: 'CHECKPOINT' })
    const unkept = { pin: other.pin, checkpoint }
    const unknown = verifyLogExport(bytesOf(other.linesOf(SIZE, PAGE)), unkept)
    await expect(unknown).rejects.toMatchObject({ code: 'CHECKPOINT' })
  })

  it('that is altered all over is refused in good time, with the first hundred findings', async () => {
    const all = [...log.linesOf(20_000, 256)].map(line =>
      line.startsWith('row\t') ? edited(line, true) : line,
    )
    const begun = performance.now()
    const { findings, verdict } = await verify(all)
    expect([verdict, findings.length]).toEqual(['altered', 79])
    expect(performance.now() - begun).toBeLessThan(30_000)
    const texts = [...log.linesOf(20_000, 256)].map(line => edited(line, false))
    expect((await verify(texts)).findings).toHaveLength(100)
  })

  it('whatever is done to it ends in a verdict or a code, and never passes', async () => {
    const bytes = Buffer.from(`${lines.join('\n')}\n`)
    await fc.assert(
      fc.asyncProperty(fc.nat(bytes.length - 1), fc.integer({ min: 1, max: 255 }), async (i, x) => {
        const altered = Buffer.from(bytes)
        altered.writeUInt8(altered.readUInt8(i) ^ x, i)
        async function* source() {
          yield altered
        }
        const verdict = await verifyLogExport(source(), { pin: log.pin }).then(
          ({ verdict }) => verdict,
          (error: { code?: string }) => error.code,
        )
        expect(['altered', 'EXPORT', 'CHECKPOINT', 'MALFORMED', 'TOKEN_KEY']).toContain(verdict)
      }),
      { numRuns: Number(process.env['SLOW'] ?? 0) > 0 ? 20_000 : 500 },
    )
  })
})

describe('a key service', () => {
  it('exports to an account its own rows, to the audit token all, and to nobody else', async () => {
    const world = await World.start()
    try {
      const [one, two] = [await world.enrol(), await world.enrol()]
      for (let n = 0; n < 150; n++) await one.createKey({ mode: 'open' })
      for (let n = 0; n < 150; n++) await two.createKey({ mode: 'open' })
      const token = await readFile(`${world.folder}/kms/audit-token`, 'utf8')
      const auditor = new KmsClient(world.kms.pin, { credential: token })
      const stranger = new KmsClient(world.kms.pin)
      const verdictOf = async (client: KmsClient) => {
        const all: string[] = []
        for await (const line of exportLog(client)) all.push(line.trimEnd())
        return await verifyLogExport(bytesOf(all), { pin: world.kms.pin })
      }
      expect(await verdictOf(one)).toMatchObject({ verdict: 'intact', size: 302, rows: 151 })
      expect(await verdictOf(auditor)).toMatchObject({ verdict: 'intact', size: 302, rows: 302 })
      await expect(verdictOf(stranger)).rejects.toMatchObject({ code: 'UNAUTHENTICATED' })
      auditor.close()
      stranger.close()
    } finally {
      await world.stop()
    }
  })

  it('exports no row that was altered in its database, and says which it was', async () => {
    const world = await World.start()
    try {
      const owner = await world.enrol()
      for (let n = 0; n < 4; n++) await owner.createKey({ mode: 'open' })
      const exported = async () => {
        const all: string[] = []
        for await (const line of exportLog(owner)) all.push(line.trimEnd())
        return (await verifyLogExport(bytesOf(all), { pin: world.kms.pin })).verdict
      }
      const swap = [
        'update audit_leaves set idx = -idx where idx in (1, 3)',
        'update audit_leaves set idx = 4 + idx where idx < 0',
      ]
      const attacks: readonly [row: string, attack: readonly string[], undo: readonly string[]][] =
        [
          [
            'row 2 is not as',
            [`update audit_leaves set entry = replace(entry, 'open', 'shut') where idx = 2`],
            [`update audit_leaves set entry = replace(entry, 'shut', 'open') where idx = 2`],
          ],
          ['row 1 is not as', swap, swap],
          [
            'row 5 was added',
            [
              'insert into audit_leaves select row_version, mac, 5, entry from audit_leaves limit 1',
            ],
            ['delete from audit_leaves where idx = 5'],
          ],
          ['row 3 is missing', ['delete from audit_leaves where idx = 3'], []],
        ]
      for (const [message, attack, undo] of attacks) {
        expect(await exported()).toBe('intact')
        world.database.edit(...attack)
        await expect(exported()).rejects.toMatchObject({
          code: 'INTEGRITY',
          reasons: [{ code: 'LOG_TAMPERED', message: expect.stringContaining(message) }],
        })
        world.database.edit(...undo)
      }
    } finally {
      await world.stop()
    }
  })
})
