import { Assembly } from './assembly.ts'

/** What a C function is called with. */
export type Argument =
  /** A number of 32 bits. */
  | { readonly kind: 'number'; readonly value: number }
  /** The address of a text that ends with NUL. */
  | { readonly kind: 'text'; readonly text: string }
  /** The address of a list of such texts that ends with a null pointer. */
  | { readonly kind: 'texts'; readonly texts: readonly string[] }
  /** The lowest eight bits of what the routine itself was called with, as a number. */
  | { readonly kind: 'status' }
  /** The address of a routine. */
  | { readonly kind: 'routine'; readonly name: string }

/** A call of a function that the C library has; what it gives back is passed over. */
export interface Call {
  readonly name: string
  /** At most three. */
  readonly with: readonly Argument[]
}

/** Functions of a library: names, and what each calls in turn before it returns. */
export interface LibraryPlan {
  /** Called when the library is loaded. */
  readonly onLoad: readonly Call[]
  /** Others find them by their names, in place of what they would have found. */
  readonly routines: Readonly<Record<string, readonly Call[]>>
  /** Reached by their addresses alone. */
  readonly hidden?: Readonly<Record<string, readonly Call[]>>
}

// System V ABI, chapter 4 "ELF header" and chapter 5 "Program header", 64-bit forms.
const HEADER = 64
const PROGRAM_HEADER = 56
const SYMBOL = 24
const RELOCATION = 24
const POINTER = 8
const PAGE = 0x1000
const ET_DYN = 3
const EM_X86_64 = 62
const PT_LOAD = 1
const PT_DYNAMIC = 2
/** Without it, whoever loads the library gets a stack from which instructions run. */
const PT_GNU_STACK = 0x6474e551
const READ_EXECUTE = 5
const READ_WRITE = 6
/** STB_GLOBAL, STT_FUNC. */
const GLOBAL_FUNCTION = 0x12
const DT_NEEDED = 1
const DT_HASH = 4
const DT_STRTAB = 5
const DT_SYMTAB = 6
const DT_RELA = 7
const DT_RELASZ = 8
const DT_RELAENT = 9
const DT_STRSZ = 10
const DT_SYMENT = 11
const DT_INIT_ARRAY = 25
const DT_INIT_ARRAYSZ = 27

// AMD64 supplement, 4.4.1 "Relocation types".
const R_X86_64_GLOB_DAT = 6
const R_X86_64_RELATIVE = 8

// Intel SDM, volume 2; arguments go into RDI, RSI and RDX (AMD64 supplement, 3.2.3).
const LEA_RIP = [0x3d, 0x35, 0x15].map(modRm => [0x48, 0x8d, modRm])
const MOV_NUMBER = [[0xbf], [0xbe], [0xba]]
const MOV_EBX = [0xdf, 0xde, 0xda].map(modRm => [0x89, modRm])
/** PUSH RBX, which also aligns the stack; MOVZX EBX, DIL. */
const ENTER = [0x53, 0x40, 0x0f, 0xb6, 0xdf]
/** XOR EAX, EAX: no vector registers, for functions of any number of arguments. */
const NO_VECTORS = [0x31, 0xc0]
/** CALL [RIP + displacement]. */
const CALL = [0xff, 0x15]
/** POP RBX; RET. */
const LEAVE = [0x5b, 0xc3]

const C_LIBRARY = 'libc.so.6'

/**
 * Makes a shared library for Linux on x86-64 whose functions do nothing but call others, so that a
 * process calls by loading it what it has no other way to call. It is loaded by glibc, and takes no
 * compiler.
 * @throws TypeError for a text with a NUL in it, or a plan that does not hold together
 * @see System V ABI, chapters 4 and 5, and its AMD64 supplement
 */
export function elfLibrary({ onLoad, routines, hidden = {} }: LibraryPlan): Uint8Array {
  const bodies = [['', onLoad] as const, ...Object.entries({ ...hidden, ...routines })]
  const calls = bodies.flatMap(([, body]) => body)
  const imported = [...new Set(calls.map(({ name }) => name))]
  const symbols = [...imported, ...Object.keys(routines)]
  const lists = calls.flatMap(call => call.with.flatMap(a => (a.kind === 'texts' ? [a.texts] : [])))
  const texts = calls.flatMap(call => call.with.flatMap(a => (a.kind === 'text' ? [a.text] : [])))
  const file = new Assembly()
  headers(file)
  for (const text of new Set([...texts, ...lists.flat()])) putText(file, `text ${text}`, text)
  putStrings(file, symbols)
  putHash(file, symbols.length + 1)
  for (const [name, body] of bodies) putRoutine(file, name, body)
  putSymbols(file, symbols, name => name in routines)
  file.label('code end')
  file.align(PAGE)
  file.label('data')
  const relocations: Relocation[] = []
  putPointer(file, 'init', relocations, { to: 'routine ' })
  for (const [index, name] of imported.entries()) {
    putPointer(file, `slot ${name}`, relocations, { symbol: 1 + index })
  }
  for (const list of lists) {
    file.label(listLabel(list))
    for (const text of list) putPointer(file, '', relocations, { to: `text ${text}` })
    file.words(() => 0)
  }
  putRelocations(file, relocations)
  putDynamic(file, relocations.length)
  file.label('end')
  return file.finish()
}

const listLabel = (texts: readonly string[]) => `texts ${JSON.stringify(texts)}`

function putText(file: Assembly, label: string, text: string): void {
  if (text.includes('\0')) throw new TypeError('a text for C has no NUL')
  file.label(label)
  file.bytes(Buffer.from(`${text}\0`))
}

function headers(file: Assembly): void {
  // 64 bits, little-endian, version 1.
  file.bytes([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0])
  for (const half of [ET_DYN, EM_X86_64]) file.number(2, () => half)
  file.number(4, () => 1)
  // No entry point; program headers follow; no sections.
  file.words(
    () => 0,
    () => HEADER,
    () => 0,
  )
  file.number(4, () => 0)
  for (const half of [HEADER, PROGRAM_HEADER, 4, 64, 0, 0]) file.number(2, () => half)
  const from = (label: string) => () => file.at(label)
  segment(file, [PT_LOAD, READ_EXECUTE], () => 0, from('code end'))
  segment(file, [PT_LOAD, READ_WRITE], from('data'), from('end'))
  segment(file, [PT_DYNAMIC, READ_WRITE], from('dynamic'), from('end'))
  const nowhere = () => 0
  segment(file, [PT_GNU_STACK, READ_WRITE], nowhere, nowhere)
}

/** A program header: addresses are places in the file. */
function segment(
  file: Assembly,
  [type, flags]: readonly [number, number],
  start: () => number,
  end: () => number,
): void {
  file.number(4, () => type)
  file.number(4, () => flags)
  const size = () => end() - start()
  file.words(start, start, start, size, size, () => (type === PT_LOAD ? PAGE : POINTER))
}

function putStrings(file: Assembly, symbols: readonly string[]): void {
  file.label('strings')
  file.bytes([0])
  for (const name of [C_LIBRARY, ...symbols]) putText(file, `name ${name}`, name)
  file.label('strings end')
}

/** One bucket, in which all symbols are. @see System V ABI, chapter 5 "Hash Table" */
function putHash(file: Assembly, count: number): void {
  file.align(POINTER)
  file.label('hash')
  const chain = Array.from({ length: count }, (_, index) => (index + 1) % count)
  for (const word of [1, count, 1, 0, ...chain.slice(1)]) file.number(4, () => word)
}

function putRoutine(file: Assembly, name: string, calls: readonly Call[]): void {
  file.align(POINTER)
  file.label(`routine ${name}`)
  file.bytes(ENTER)
  for (const call of calls) {
    for (const [index, argument] of call.with.entries()) putArgument(file, index, argument)
    file.bytes([...NO_VECTORS, ...CALL])
    file.displacement(`slot ${call.name}`)
  }
  file.bytes(LEAVE)
  file.label(`end of ${name}`)
}

function putArgument(file: Assembly, index: number, argument: Argument): void {
  const put = (codes: readonly (readonly number[])[]) => {
    const bytes = codes[index]
    if (bytes === undefined) throw new TypeError('a call has at most three arguments')
    file.bytes(bytes)
  }
  switch (argument.kind) {
    case 'number':
      put(MOV_NUMBER)
      file.number(4, () => argument.value)
      break
    case 'status':
      put(MOV_EBX)
      break
    case 'text':
    case 'texts':
    case 'routine':
      put(LEA_RIP)
      file.displacement(labelOf(argument))
      break
  }
}

function labelOf(argument: Exclude<Argument, { kind: 'number' | 'status' }>): string {
  switch (argument.kind) {
    case 'text':
      return `text ${argument.text}`
    case 'texts':
      return listLabel(argument.texts)
    case 'routine':
      return `routine ${argument.name}`
  }
}

function putSymbols(
  file: Assembly,
  symbols: readonly string[],
  isOwn: (name: string) => boolean,
): void {
  file.align(POINTER)
  file.label('symbols')
  file.bytes(new Uint8Array(SYMBOL))
  for (const name of symbols) {
    const start = () => (isOwn(name) ? file.at(`routine ${name}`) : 0)
    file.number(4, () => file.at(`name ${name}`) - file.at('strings'))
    file.bytes([GLOBAL_FUNCTION, 0])
    // Of any section, or of none: another library has it.
    file.number(2, () => (isOwn(name) ? 1 : 0))
    file.words(start, () => (isOwn(name) ? file.at(`end of ${name}`) - start() : 0))
  }
}

interface Relocation {
  readonly at: number
  /** A place of this library, by its label; or a symbol, by its index. */
  readonly target: { readonly to: string } | { readonly symbol: number }
}

function putPointer(
  file: Assembly,
  label: string,
  relocations: Relocation[],
  target: Relocation['target'],
): void {
  file.label(label)
  relocations.push({ at: file.end, target })
  file.words(() => 0)
}

function putRelocations(file: Assembly, relocations: readonly Relocation[]): void {
  file.label('relocations')
  for (const { at, target } of relocations) {
    file.words(() => at)
    if ('symbol' in target) {
      const info = (BigInt(target.symbol) << 32n) | BigInt(R_X86_64_GLOB_DAT)
      file.words(
        () => info,
        () => 0,
      )
    } else {
      file.words(
        () => R_X86_64_RELATIVE,
        () => file.at(target.to),
      )
    }
  }
}

function putDynamic(file: Assembly, relocations: number): void {
  file.label('dynamic')
  const nameOffset = file.at(`name ${C_LIBRARY}`) - file.at('strings')
  const entries: readonly (readonly [number, number])[] = [
    [DT_NEEDED, nameOffset],
    [DT_HASH, file.at('hash')],
    [DT_STRTAB, file.at('strings')],
    [DT_STRSZ, file.at('strings end') - file.at('strings')],
    [DT_SYMTAB, file.at('symbols')],
    [DT_SYMENT, SYMBOL],
    [DT_RELA, file.at('relocations')],
    [DT_RELASZ, RELOCATION * relocations],
    [DT_RELAENT, RELOCATION],
    [DT_INIT_ARRAY, file.at('init')],
    [DT_INIT_ARRAYSZ, POINTER],
    [0, 0],
  ]
  for (const [tag, value] of entries) {
    file.words(
      () => tag,
      () => value,
    )
  }
}
