import { expect, it, describe as suite } from 'vitest'
import { describe } from './describe.ts'

suite('where hosts call in', () => {
  it.each([
    ['10.0.0.1:7400', '--driver 10.0.0.1:7400,'],
    ['[fd00::1]:7400', '--driver [fd00::1]:7400,'],
    ['0.0.0.0:7400', '--driver HOST:7400,'],
    ['[::]:7400', '--driver HOST:7400,'],
  ])('%s is told as others reach it', (address, told) => {
    const [line = ''] = describe({ kind: 'listening', address })
    expect(line).toContain(address)
    expect(line).toContain(told)
  })
})
