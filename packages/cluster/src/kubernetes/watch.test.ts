import { describe, expect, it } from 'vitest'
import type { Connection } from './connection.ts'
import { listObjects, watchObjects } from './watch.ts'

const LIST = { items: [], metadata: { resourceVersion: '1' } }
const PATH = '/api/v1/namespaces/jobs/pods'

/** A cluster that answers so to each question, and tells these changes. */
function cluster(answer: object, changes: () => Iterable<object> = () => []) {
  let asked = 0
  const connection: Connection = {
    namespace: 'jobs',
    ask: async () => {
      asked += 1
      return answer
    },
    async *lines() {
      for (const change of changes()) yield JSON.stringify(change)
    },
  }
  return { connection, asked: () => asked }
}

describe('a cluster that goes on for ever', () => {
  it('with pages on which nothing is, is asked for so many', async () => {
    const { connection, asked } = cluster({ items: [], metadata: { continue: 'more' } })
    await expect(listObjects(connection, PATH, {})).rejects.toMatchObject({ code: 'ANSWER' })
    expect(asked()).toBe(100)
  })

  it('with objects that are large, or change for ever, fills no memory', async () => {
    const told: number[] = []
    const watched = (changes: () => Iterable<object>) =>
      watchObjects({
        ...{ connection: cluster(LIST, changes).connection, path: PATH, query: {} },
        signal: AbortSignal.timeout(60_000),
        onObjects: objects => told.push(objects.length),
      })
    const change = (name: string) => ({
      type: 'ADDED',
      object: { metadata: { name, note: 'x'.repeat(1 << 20) } },
    })
    function* many() {
      for (let number = 0; number < 200; number += 1) yield change(`pod-${number}`)
    }
    await expect(watched(many)).rejects.toMatchObject({ code: 'ANSWER' })
    expect(Math.max(...told)).toBeLessThan(65)
    function* one() {
      for (let number = 0; number < 200; number += 1) yield change('pod')
      yield { type: 'ERROR', object: { code: 403 } }
    }
    told.length = 0
    const over = AbortSignal.timeout(60_000)
    const { connection } = cluster(LIST, one)
    const left = new AbortController()
    await watchObjects({
      ...{ connection, path: PATH, query: {}, pauseMs: 1 },
      signal: AbortSignal.any([over, left.signal]),
      onObjects: objects => told.push(objects.length),
      onAway: () => left.abort(),
    })
    expect(told).toHaveLength(201)
  })
})
