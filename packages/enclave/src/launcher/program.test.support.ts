// The program of the test images: what it does, its job's arguments say.
import '../init/signals.ts'
import { existsSync, readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { createConnection } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { createSealedFile, Dek, openSealedFile } from '@cloister/sealed'
import type { ProgramInput, ProgramOutput } from '../instance/program.ts'

async function upperCase(input: ProgramInput): Promise<number> {
  const [output] = input.outputs
  if (output === undefined) return 0
  const { path, fixed, slots, dek } = output.part
  const writer = await createSealedFile({ path, fixed, slots, dek: Dek.from(dek) })
  let lines = 0
  for (const part of input.inputs.flatMap(dataset => dataset.parts)) {
    const reader = await openSealedFile(part.path, Dek.from(part.dek))
    for await (const chunk of reader.stream()) {
      const text = Buffer.from(chunk).toString('latin1')
      lines += text.split('\n').length - 1
      await writer.write(Buffer.from(text.toUpperCase(), 'latin1'))
    }
    await reader.close()
  }
  await writer.close()
  return lines
}

const succeeds = (act: () => unknown): number => {
  try {
    act()
    return 1
  } catch {
    return 0
  }
}

function connects(target: string | number): Promise<number> {
  return new Promise(resolve => {
    const socket =
      typeof target === 'string' ? createConnection(target) : createConnection(target, '127.0.0.1')
    socket.once('connect', () => {
      socket.destroy()
      resolve(1)
    })
    socket.once('error', () => resolve(0))
  })
}

/** What the program can see and reach, in numbers. */
async function survey(port: number): Promise<Record<string, number>> {
  const descriptors = readdirSync('/proc/self/fd').map(fd => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`)
    } catch {
      return ''
    }
  })
  return {
    uid: process.getuid?.() ?? -1,
    pid: process.pid,
    parent: process.ppid,
    environment: Object.keys(process.env).length,
    sockets: descriptors.filter(name => name.startsWith('socket:')).length,
    readsInit: succeeds(() => readFileSync('/proc/1/environ')),
    readsInitMemory: succeeds(() => readFileSync('/proc/1/mem')),
    listsInit: succeeds(() => readdirSync('/proc/1/fd')),
    hostFiles: succeeds(() => readFileSync('/etc/passwd')),
    kmsSocket: await connects('/run/kms.sock'),
    network: await connects(port),
    processes: readdirSync('/proc').filter(name => /^\d+$/.test(name)).length,
    coreLimit: Number(
      /Max core file size\s+(\d+)/.exec(readFileSync('/proc/self/limits', 'utf8'))?.[1],
    ),
    interfaces: readFileSync('/proc/net/dev', 'utf8').trim().split('\n').length - 2,
  }
}

async function run(input: ProgramInput): Promise<ProgramOutput> {
  const { command } = input.job
  const [verb = 'upper-case', argument = ''] = command.kind === 'exec' ? command.argv : []
  const name = input.outputs[0]?.name ?? ''
  const answer = (rows: number | null, statistics: Record<string, number> = {}) => ({
    version: 1 as const,
    outputs: input.outputs.map(output => ({ name: output.name, rows })),
    statistics,
  })
  switch (verb) {
    case 'upper-case': {
      const lines = await upperCase(input)
      return answer(lines, { lines })
    }
    case 'survey': {
      await upperCase(input)
      return answer(null, await survey(Number(argument)))
    }
    case 'say':
      process.stdout.write(`${argument}\n`)
      process.stderr.write(`${argument} to you too\n`)
      process.exit(3)
      break
    case 'crash':
      process.kill(process.pid, 'SIGSEGV')
      break
    case 'wait':
      // Until the host has put a file there.
      await upperCase(input)
      while (!existsSync(join(input.outputs[0]?.folder ?? '', 'go'))) await sleep(20)
      return answer(0)
    case 'stay':
      await upperCase(input)
      await new Promise(() => setInterval(() => {}, 1000))
      break
    case 'other-output':
      return { ...answer(0), outputs: [{ name: `${name}_other`, rows: 0 }] }
    default:
  }
  return answer(0)
}

process.once('message', message => {
  void run(message as ProgramInput).then(output => {
    process.send?.(output, () => process.disconnect())
  })
})
