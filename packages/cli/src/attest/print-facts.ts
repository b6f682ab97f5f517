import type { Fact, Facts } from '@cloister/attestation/inspect'
import { printable } from '../output/printable.ts'

const WIDTH = 34

/** Facts as lines for people, indented by depth. */
export function factLines(facts: Facts, indent = ''): readonly string[] {
  return Object.entries(facts).flatMap(([name, fact]) => linesOf(name, fact, indent))
}

function linesOf(name: string, fact: Fact, indent: string): readonly string[] {
  const label = printable(`${indent}${name}`)
  const deeper = `${indent}  `
  if (typeof fact !== 'object') return [`${label.padEnd(WIDTH)} ${printable(String(fact))}`]
  const members = membersOf(fact)
  if (members === undefined) return [label, ...factLines(fact as Facts, deeper)]
  if (members.length === 0) return [`${label.padEnd(WIDTH)} none`]
  const lines = members.flatMap((one, index) =>
    typeof one === 'string'
      ? [`${deeper}${printable(one)}`]
      : [`${deeper}${index + 1}.`, ...factLines(one, `${deeper}  `)],
  )
  return [label, ...lines]
}

/** `Array.isArray` does not narrow a readonly array. */
function membersOf(fact: object): readonly (string | Facts)[] | undefined {
  return Array.isArray(fact) ? fact : undefined
}
