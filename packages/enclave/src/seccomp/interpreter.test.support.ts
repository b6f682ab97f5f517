/** What a system call looks like to a filter. */
export interface Call {
  readonly architecture: number
  readonly number: number
  readonly arguments: readonly bigint[]
}

/** Runs a filter as the kernel does, written from the kernel's description and not from the assembler. */
export function verdictOf(program: Uint8Array, call: Call): number {
  const data = new DataView(new ArrayBuffer(64))
  data.setUint32(0, call.number, true)
  data.setUint32(4, call.architecture, true)
  for (const [index, value] of call.arguments.entries()) {
    data.setBigUint64(16 + 8 * index, BigInt.asUintN(64, value), true)
  }
  const code = new DataView(program.buffer, program.byteOffset, program.byteLength)
  let accumulator = 0
  for (let at = 0; at < program.length / 8; at += 1) {
    const operation = code.getUint16(8 * at, true)
    const operand = code.getUint32(8 * at + 4, true)
    const [yes, no] = [code.getUint8(8 * at + 2), code.getUint8(8 * at + 3)]
    switch (operation) {
      case 0x20:
        if (operand % 4 !== 0 || operand > 60) throw new Error('loads outside its data')
        accumulator = data.getUint32(operand, true)
        break
      case 0x54:
        accumulator = (accumulator & operand) >>> 0
        break
      case 0x15:
        at += accumulator === operand ? yes : no
        break
      case 0x25:
        at += accumulator > operand ? yes : no
        break
      case 0x35:
        at += accumulator >= operand ? yes : no
        break
      case 0x45:
        at += (accumulator & operand) !== 0 ? yes : no
        break
      case 0x06:
        return operand
      default:
        throw new Error(`unknown operation 0x${operation.toString(16)}`)
    }
  }
  throw new Error('runs past its end')
}
