import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { createSegmentPool, type SegmentPool } from '@cloister/sealed'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { TestFolder } from '../context/sealing.test.support.ts'
import { Database } from '../duckdb/database.ts'
import { OpenedParquet } from './opened-file.ts'

let folder: TestFolder
let pool: SegmentPool
let database: Database

beforeAll(async () => {
  folder = new TestFolder()
  pool = createSegmentPool({ workers: 1 })
  database = await Database.open({
    allowedFolders: [folder.path],
    spillFolder: join(folder.path, 'spill'),
    memoryMiB: 256,
    threads: 2,
  })
})
afterAll(async () => {
  database.close()
  await pool.close()
  folder.remove()
})

const NAMES = ['a', 'b', 'c']

it('has an error, and no zeros, in place of any chunk that is taken away', async () => {
  const plain = join(folder.path, 'plain.parquet')
  await database.run(
    `COPY (SELECT i AS a, 'x' || i AS b, i * 2 AS c FROM range(6000) t(i)) TO '${plain}' (FORMAT parquet, ROW_GROUP_SIZE 2048)`,
  )
  // Segments smaller than any chunk, so that a chunk can be missing by itself.
  const part = await folder.seal(readFileSync(plain), 256)
  const groups = 3
  for (let group = 0; group < groups; group += 1) {
    for (let leaf = 0; leaf < NAMES.length; leaf += 1) {
      const path = join(folder.path, `${group}-${leaf}.parquet`)
      const file = await OpenedParquet.open(part, path)
      expect(file.footer.rowGroups).toHaveLength(groups)
      const isWanted = (g: number, l: number) => g !== group || l !== leaf
      await file.fill(pool, file.missing(isWanted))
      await file.publish(NAMES)
      for (const [column, name] of NAMES.entries()) {
        const read = database.rows(`SELECT count(${name}), max(hash(${name})) FROM '${path}'`)
        if (column === leaf) await expect(read).rejects.toMatchObject({ code: 'PARQUET' })
        else expect((await read)[0]?.[0]).toBe('6000')
      }
      await file.fill(
        pool,
        file.missing(() => true),
      )
      await file.publish(NAMES)
      const sums = await database.rows(`SELECT sum(a), max(b), sum(c) FROM '${path}'`)
      expect(sums).toEqual(await database.rows(`SELECT sum(a), max(b), sum(c) FROM '${plain}'`))
      await file.close()
    }
  }
})
