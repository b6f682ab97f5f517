import { readFileSync } from 'node:fs'
import { parseDefinition } from '@cloister/enclave'
import type { Command } from 'commander'
import { describe, expect, it } from 'vitest'
import { createProgram } from './program.ts'

const PAGE = readFileSync(new URL('../../../docs/migrate.md', import.meta.url), 'utf8')

/** What stands as code on the page: spans, and lines of blocks. */
const code = [...PAGE.matchAll(/```\w*\n([\s\S]*?)```|`([^`\n]+)`/g)].flatMap(
  ([, block, span = '']) => (block === undefined ? [span] : block.split(/\n| && /)),
)

/** The command that a line names, and the words that are left. */
function commandOf(program: Command, line: string): readonly [Command, readonly string[]] {
  let [command, words]: [Command, readonly string[]] = [program, line.trim().split(/\s+/).slice(1)]
  for (;;) {
    const next = command.commands.find(each => each.name() === words[0])
    if (next === undefined) return [command, words]
    ;[command, words] = [next, words.slice(1)]
  }
}

describe('the page for those who come from older scripts', () => {
  it('names commands and options that there are', async () => {
    const program = await createProgram()
    const lines = code.filter(line => /^cloister [a-z]/.test(line.trim()))
    expect(lines.length).toBeGreaterThan(20)
    for (const line of lines) {
      const [command, words] = commandOf(program, line)
      expect(command.commands.length, `no such command: ${line}`).toBe(0)
      const known = command.options.map(({ long }) => long)
      for (const option of words.filter(word => word.startsWith('--'))) {
        expect(known, line).toContain(option)
      }
    }
  })

  it('has a definition that is one', () => {
    const [, text = ''] = /```yaml\n(version: 1\nname: [\s\S]*?)```/.exec(PAGE) ?? []
    const { entry, resources } = parseDefinition(text, 'docs/migrate.md')
    expect(entry.program[0]).toBe('/bin/sh')
    expect(resources).toEqual({ SGX_MEM_SIZE: '2GB', SGX_THREAD: 64 })
  })
})
