import { rm, writeFile } from 'node:fs/promises'
import { constants } from 'node:os'
import { type Argument, elfLibrary } from '../../elf/library.ts'
import type { ImageManifest } from '../../image/manifest.ts'
import { loaderFault, programPath } from '../../image/own-process.ts'
import { InstanceError } from '../../instance/failure.ts'
import type { ProgramPlan } from '../program.ts'
import { type Left, leave, leftPaths } from './left.ts'

// POSIX, <fcntl.h> and <signal.h>; the numbers are those of Linux on x86-64.
const F_SETFD = 2
const O_RDWR = 2
const SIG_DFL = 0
const SIGPIPE = constants.signals.SIGPIPE

const text = (value: string): Argument => ({ kind: 'text', text: value })
const texts = (values: readonly string[]): Argument => ({ kind: 'texts', texts: values })
const number = (value: number): Argument => ({ kind: 'number', value })

/**
 * Has the program take init's place in its process: same memory files, same enclave. Node has no call
 * for that; a library that init writes makes it when it is loaded. The program is given another, which
 * calls init back when the program exits. What ends without exiting ends the enclave, and nothing is
 * sealed.
 * @throws InstanceError PROGRAM when the program does not start
 */
export async function giveWay(plan: ProgramPlan, image: ImageManifest, left: Left): Promise<never> {
  const { argv, layout } = plan
  const [name = ''] = argv
  const paths = leftPaths(layout)
  try {
    const fault = await loaderFault(layout.rootFolder, image)
    if (fault !== undefined) throw new InstanceError('PROGRAM', fault)
    await leave(layout, left)
    await writeFile(paths.back, comingBack(paths.end, image.entry.init), { mode: 0o500 })
    await writeFile(paths.start, starting(plan, programPath(image, name), paths.back), {
      mode: 0o500,
    })
    process.chdir(layout.scratchFolder)
    process.dlopen({ exports: {} }, paths.start)
  } catch (cause) {
    await rm(layout.leftFolder, { recursive: true, force: true })
    if (cause instanceof InstanceError) throw cause
    // Loaded, and still here: it is no module of Node's, and the program did not start.
    throw new InstanceError('PROGRAM', `the program does not start: ${name}`, { cause })
  }
  throw new InstanceError('PROGRAM', `the program does not start: ${name}`)
}

/** Becomes the program when it is loaded. */
function starting({ argv, environment }: ProgramPlan, path: string, back: string): Uint8Array {
  const { LD_PRELOAD: others, ...rest } = environment
  const preload = others === undefined ? back : `${back}:${others}`
  const variables = Object.entries({ ...rest, LD_PRELOAD: preload })
  const standard = (descriptor: number) => ({
    name: 'fcntl',
    with: [number(descriptor), number(F_SETFD), number(0)],
  })
  return elfLibrary({
    onLoad: [
      // As Node leaves a process that it starts: nothing ignored, and no input but nothing.
      { name: 'signal', with: [number(SIGPIPE), number(SIG_DFL)] },
      { name: 'close', with: [number(0)] },
      { name: 'open', with: [text('/dev/null'), number(O_RDWR)] },
      // Node keeps its own two from other programs.
      ...[1, 2].map(standard),
      {
        name: 'execve',
        with: [text(path), texts(argv), texts(variables.map(pair => pair.join('=')))],
      },
    ],
    routines: {},
  })
}

/**
 * Becomes init again when the program exits, by whichever call. Init takes no argument that is not
 * measured, and no environment.
 */
function comingBack(end: string, init: readonly string[]): Uint8Array {
  const back = [
    // A timer outlives the program, and its signal would end init.
    { name: 'alarm', with: [number(0)] },
    { name: 'truncate', with: [text(end), { kind: 'status' } as const] },
    { name: 'execve', with: [text(init[0] ?? ''), texts(init), texts([])] },
  ]
  // Programs call it, by either name, to leave without what was to be done at the end.
  const atOnce = [...back, { name: 'abort', with: [] }]
  return elfLibrary({
    onLoad: [{ name: 'on_exit', with: [{ kind: 'routine', name: 'atExit' }, number(0)] }],
    // By a name it would be found in place of what programs call so themselves, and end them.
    hidden: { atExit: [{ name: 'fflush', with: [number(0)] }, ...back] },
    routines: { _exit: atOnce, _Exit: atOnce },
  })
}
