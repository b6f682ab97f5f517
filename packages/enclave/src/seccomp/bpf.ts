/**
 * An assembler for the part of classic BPF that seccomp filters are written in: loads of words of
 * `struct seccomp_data`, a mask, forward jumps, and verdicts.
 * @see Linux, Documentation/networking/filter.rst and include/uapi/linux/seccomp.h
 */

/** One line of a program. Jumps go forward, to a label further down or, without one, to the next line. */
export type Line =
  | { readonly load: number }
  | { readonly and: number }
  | {
      readonly jump: 'equal' | 'greater' | 'greater-or-equal' | 'any-bit'
      /** What the loaded word is compared with. */
      readonly value: number
      /** Where to go on when it holds. */
      readonly yes?: string
      /** Where to go on when it does not. */
      readonly no?: string
    }
  | { readonly return: number }
  | { readonly label: string }

/** Most instructions in a program (BPF_MAXINSNS). */
const MAX_INSTRUCTIONS = 4096

/** Farthest conditional jump: offsets are bytes. */
const MAX_JUMP = 255

const INSTRUCTION_BYTES = 8

const LOAD_WORD = 0x20
const AND = 0x54
const RETURN = 0x06
const JUMPS = {
  equal: 0x15,
  greater: 0x25,
  'greater-or-equal': 0x35,
  'any-bit': 0x45,
} as const

/**
 * Assembles a program into the array of `struct sock_filter` that the kernel takes, little-endian.
 * @throws RangeError for a label that is not further down, or too far; a program that is too long or
 * may run past its end
 */
export function assemble(lines: readonly Line[]): Uint8Array {
  const labels = labelsOf(lines)
  const instructions = lines.flatMap(line => ('label' in line ? [] : [line]))
  if (instructions.length > MAX_INSTRUCTIONS) {
    throw new RangeError(`${instructions.length} instructions, at most ${MAX_INSTRUCTIONS}`)
  }
  const last = instructions.at(-1)
  if (last === undefined || !('return' in last)) {
    throw new RangeError('the last instruction gives no verdict')
  }
  const bytes = Buffer.alloc(instructions.length * INSTRUCTION_BYTES)
  for (const [index, line] of instructions.entries()) {
    const at = index * INSTRUCTION_BYTES
    const [code, operand] = encoded(line)
    bytes.writeUInt16LE(code, at)
    if ('jump' in line) {
      bytes.writeUInt8(distance(labels, line.yes, index), at + 2)
      bytes.writeUInt8(distance(labels, line.no, index), at + 3)
    }
    bytes.writeUInt32LE(operand, at + 4)
  }
  return bytes
}

/** Index of the instruction that each label stands before. */
function labelsOf(lines: readonly Line[]): ReadonlyMap<string, number> {
  const labels = new Map<string, number>()
  let index = 0
  for (const line of lines) {
    if (!('label' in line)) index += 1
    else if (labels.has(line.label)) throw new RangeError(`label ${line.label} stands there twice`)
    else labels.set(line.label, index)
  }
  return labels
}

function encoded(line: Exclude<Line, { readonly label: string }>): readonly [number, number] {
  if ('load' in line) return [LOAD_WORD, line.load]
  if ('and' in line) return [AND, line.and]
  if ('return' in line) return [RETURN, line.return]
  return [JUMPS[line.jump], line.value]
}

function distance(
  labels: ReadonlyMap<string, number>,
  label: string | undefined,
  from: number,
): number {
  if (label === undefined) return 0
  const to = labels.get(label)
  const far = to === undefined ? -1 : to - from - 1
  if (far < 0 || far > MAX_JUMP) throw new RangeError(`label ${label} is not within reach`)
  return far
}
