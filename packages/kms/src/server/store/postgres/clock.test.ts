import { describe, expect, it } from 'vitest'
import { DatabaseClock } from './clock.ts'

const START = Date.parse('2026-01-01T00:00:00Z')

/** A clock over a machine whose own time is an hour off, and a database that answers in time. */
function scene() {
  const machine = { monotonic: 5000, offset: START + 3_600_000 }
  const clock = new DatabaseClock(
    () => machine.monotonic,
    () => machine.offset + machine.monotonic,
  )
  const database = { offset: START }
  const measure = (there = 2, back = 2) => {
    const start = clock.start()
    machine.monotonic += there
    const answer = database.offset + machine.monotonic
    machine.monotonic += back
    clock.observe(answer, start)
  }
  return { machine, clock, database, measure, true: () => database.offset + machine.monotonic }
}

describe('the clock of replicas', () => {
  it('is the database’s, whatever the machine’s says', () => {
    const { clock, machine, measure, ...scene_ } = scene()
    measure()
    for (let n = 0; n < 10; n++) {
      machine.monotonic += 1000
      expect(clock.now().getTime()).toBe(scene_.true())
    }
    measure(40, 0)
    expect(Math.abs(clock.now().getTime() - scene_.true())).toBeLessThanOrEqual(20)
  })

  it('never goes back, though the database’s does', () => {
    const { clock, database, machine, measure } = scene()
    measure()
    const before = clock.now().getTime()
    database.offset -= 10_000
    measure()
    expect(clock.now().getTime()).toBe(before)
    machine.monotonic += 20_000
    expect(clock.now().getTime()).toBe(database.offset + machine.monotonic)
  })

  it('is not known before the database was asked, nor long after', () => {
    const { clock, machine, measure } = scene()
    const unknown = expect.objectContaining({ code: 'CLOCK' })
    expect(() => clock.now()).toThrow(unknown)
    measure()
    machine.monotonic += 29_000
    clock.now()
    machine.monotonic += 2000
    expect(() => clock.now()).toThrow(unknown)
    measure()
    clock.now()
  })

  it('is not known after the machine slept, until the database is asked again', () => {
    const { clock, machine, measure } = scene()
    measure()
    // Its monotonic clock stood still; its other one did not.
    machine.offset += 60_000
    expect(() => clock.now()).toThrow(expect.objectContaining({ code: 'CLOCK' }))
    measure()
    clock.now()
  })
})
