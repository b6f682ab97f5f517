import { execFile } from 'node:child_process'
import { Type } from '@sinclair/typebox'
import { Value } from '@sinclair/typebox/value'
import { ContainerError } from './errors.ts'

/** Command lines that are understood, in the order in which they are tried. */
const KNOWN = ['docker', 'podman'] as const
const ANSWER_MS = 30_000
const MAX_ANSWER = 1 << 22

/** What a command of the engine came to. */
interface Answer {
  readonly code: number | string
  readonly stdout: string
  readonly stderr: string
}

/** A container engine of this machine, by its command line. */
export interface Engine {
  /** What is called. */
  readonly command: string
  /** Whose options it takes. */
  readonly kind: 'docker' | 'podman'
  /** Whether its containers are, to the machine, processes of the user who starts them. */
  readonly isRootless: boolean
}

const dockerInfo = Type.Object({
  ServerVersion: Type.String({ minLength: 1 }),
  SecurityOptions: Type.Union([Type.Array(Type.String()), Type.Null()]),
})
const podmanInfo = Type.Object({
  host: Type.Object({ security: Type.Object({ rootless: Type.Boolean() }) }),
})

/**
 * Finds an engine that answers.
 * @param wanted - Its command; unless told Docker's, else Podman's.
 * @throws ContainerError ENGINE, NOT_ALLOWED
 */
export async function findEngine(wanted?: string): Promise<Engine> {
  const refusals: { readonly code: 'ENGINE' | 'NOT_ALLOWED'; readonly why: string }[] = []
  for (const command of wanted === undefined ? KNOWN : [wanted]) {
    const answer = await ask(command, ['info', '--format', '{{json .}}'])
    const engine = engineOf(command, answer)
    if (engine !== undefined) return engine
    refusals.push(refusalIn(command, answer))
  }
  const code = refusals.some(refusal => refusal.code === 'NOT_ALLOWED') ? 'NOT_ALLOWED' : 'ENGINE'
  const why = refusals.map(refusal => refusal.why).join('; ')
  throw new ContainerError(code, `wanted a container engine that answers: ${why}`)
}

/** Asks an engine; what it does not do is in the answer. */
export async function ask(command: string, argv: readonly string[]): Promise<Answer> {
  return await new Promise(resolve => {
    const options = { timeout: ANSWER_MS, maxBuffer: MAX_ANSWER, encoding: 'utf8' } as const
    execFile(command, argv, options, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : (error.code ?? 'TIMEOUT'), stdout, stderr })
    })
  })
}

function engineOf(command: string, { code, stdout }: Answer): Engine | undefined {
  if (code !== 0) return undefined
  const info = jsonOf(stdout)
  if (Value.Check(podmanInfo, info)) {
    return { command, kind: 'podman', isRootless: info.host.security.rootless }
  }
  if (!Value.Check(dockerInfo, info)) return undefined
  const isRootless = (info.SecurityOptions ?? []).some(option => option === 'name=rootless')
  return { command, kind: 'docker', isRootless }
}

function refusalIn(command: string, { code, stderr }: Answer) {
  if (code === 'ENOENT') return { code: 'ENGINE' as const, why: `${command} is not installed` }
  const said = lastLine(stderr) || `it answers ${code}`
  const isForbidden = code === 'EACCES' || /permission denied/i.test(stderr)
  return {
    code: isForbidden ? ('NOT_ALLOWED' as const) : ('ENGINE' as const),
    why: `${command}: ${said}`,
  }
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

/** The last line that says anything. */
export function lastLine(text: string): string {
  return text.trim().split('\n').at(-1) ?? ''
}

/** The id of an image. @throws ContainerError IMAGE */
export async function imageId({ command }: Engine, image: string): Promise<string> {
  const { code, stdout, stderr } = await ask(command, [
    ...['image', 'inspect', '--format', '{{.Id}}', '--', image],
  ])
  const id = stdout.trim().replace(/^sha256:/, '')
  if (code === 0 && /^[0-9a-f]{64}$/.test(id)) return id
  const said = lastLine(stderr)
  throw new ContainerError('IMAGE', `wanted an image ${image} that ${command} has: ${said}`)
}

/** Removes a container, whatever it does; one that is not there is no matter. */
export async function removeContainer({ command }: Engine, name: string): Promise<boolean> {
  return (await ask(command, ['rm', '--force', '--volumes', name])).code === 0
}
