import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import {
  encodeJobStatement,
  type JobStatement,
  type KmsPin,
  parseJobStatement,
  parseKmsPin,
} from '@cloister/kms'
import { commandOf } from '../definition/arguments.ts'
import { environmentOf } from '../definition/environment.ts'
import { RuleError } from '../definition/errors.ts'
import { type ImageManifest, parseManifest } from '../image/manifest.ts'
import { namesHostFile, ownProcessFault, placeInProcess } from '../image/own-process.ts'
import { InstanceError, type InstanceErrorCode } from '../instance/failure.ts'
import { INSTANCE_NAME, type InstanceLayout } from '../instance/layout.ts'
import { type Place, parsePlace } from '../instance/together.ts'

/** What an instance is to do, for whom, as which image. */
export interface Assignment {
  readonly job: JobStatement
  readonly pin: KmsPin
  readonly manifest: ImageManifest
  /** The instance's name among those of its launcher. */
  readonly instanceName: string
  /** The program's command line, as the image's rules allow it. */
  readonly command: readonly string[]
  /** The program's environment, as the image's rules allow it. */
  readonly environment: Readonly<Record<string, string>>
  /** Its place among the instances of the job; undefined where it is the only one. */
  readonly place: Place | undefined
}

/**
 * Reads the job, the key service's pin and the image's manifest. The host wrote the first two: what
 * it may not choose is in the job digest, which the key service compares with its policies; and
 * whatever a policy allows, arguments and environment are those that the measured rules allow.
 * @param isOneProcess - Whether the program is to run in init's process.
 * @throws InstanceError JOB, PIN, IMAGE
 */
export async function readAssignment(
  layout: InstanceLayout,
  isOneProcess: boolean,
): Promise<Assignment> {
  const job = await readAs('JOB', layout.jobFile, bytes => {
    const parsed = parseJobStatement(jsonOf(bytes))
    if (Buffer.compare(encodeJobStatement(parsed), bytes) !== 0) {
      throw new InstanceError('JOB', 'the job file is not RFC 8785 JSON')
    }
    return parsed
  })
  const pin = await readAs('PIN', layout.pinFile, bytes => parseKmsPin(jsonOf(bytes)))
  const manifest = await readAs('IMAGE', layout.manifestFile, parseManifest)
  const fault = isOneProcess ? ownProcessFault(manifest) : undefined
  if (fault !== undefined) throw new InstanceError('IMAGE', `no jobs here: ${fault}`)
  const instanceName = await readAs('JOB', layout.nameFile, bytes => {
    const name = Buffer.from(bytes).toString('latin1')
    if (INSTANCE_NAME.test(name)) return name
    throw new InstanceError('JOB', 'the instance has no name')
  })
  // A key service that the job does not name would be another job.
  if (!job.kms.includes(pin.identityKey)) {
    throw new InstanceError('PIN', `the job does not name the key service ${pin.kmsId}`)
  }
  requireFits(job, manifest)
  const place = existsSync(layout.placeFile)
    ? await readAs('JOB', layout.placeFile, parsePlace)
    : undefined
  if (place !== undefined && manifest.entry.executor === undefined) {
    throw new InstanceError(
      'JOB',
      'the image has no entry.executor, and runs as one instance alone',
    )
  }
  const allowed = asAllowed(job, manifest)
  if (isOneProcess) requireNoHostFile(manifest, allowed.command, job.environment)
  return { job, pin, manifest, instanceName, place, ...allowed }
}

/** A module of the image's is named by what is measured; any other program may be led by each word. */
function requireNoHostFile(
  manifest: ImageManifest,
  command: readonly string[],
  environment: JobStatement['environment'],
): void {
  if (placeInProcess(manifest, command) === 'thread') return
  const what = 'may name a file of the host (/in, /out, /job)'
  if (namesHostFile(command)) throw new InstanceError('JOB', `arguments: no word ${what}`)
  const led = Object.entries(environment).find(([, text]) => namesHostFile([text]))
  if (led === undefined) return
  throw new InstanceError('JOB', `environment: no value ${what}, seen one of ${led[0]}`)
}

/** A job asks for no more memory than the image may use, and has the datasets that it mounts. */
function requireFits(
  { command, inputs, outputs, resources }: JobStatement,
  { entry, mounts, resources: most }: ImageManifest,
): void {
  if (resources.memoryMiB > most.memoryMiB) {
    const wanted = `at most the image's ${most.memoryMiB} MiB`
    throw new InstanceError('JOB', `memory: wanted ${wanted}, seen ${resources.memoryMiB}`)
  }
  if (entry.interface === 'messages') return
  if (command.kind !== 'exec') {
    throw new InstanceError('JOB', `the image runs programs; the job is of kind ${command.kind}`)
  }
  if (entry.interface === 'keys') return
  requireSameNames('inputs', mounts.inputs, inputs)
  requireSameNames('outputs', mounts.outputs, outputs)
}

function requireSameNames(
  what: 'inputs' | 'outputs',
  mounted: readonly { readonly name: string }[] = [],
  given: readonly { readonly name: string }[],
): void {
  const [wanted, seen] = [mounted, given].map(list => list.map(({ name }) => name).sort())
  if (wanted?.join() === seen?.join()) return
  const list = (names: readonly string[] = []) => names.join(', ') || 'none'
  throw new InstanceError('JOB', `${what}: wanted ${list(wanted)}, seen ${list(seen)}`)
}

function asAllowed(
  { command, environment }: JobStatement,
  manifest: ImageManifest,
): Pick<Assignment, 'command' | 'environment'> {
  try {
    return {
      command: commandOf(manifest.entry, command.kind === 'exec' ? command.argv : []),
      environment: environmentOf(manifest, environment),
    }
  } catch (cause) {
    if (!(cause instanceof RuleError)) throw cause
    throw new InstanceError('JOB', `the image does not allow this job: ${cause.message}`, { cause })
  }
}

function jsonOf(bytes: Uint8Array): unknown {
  return JSON.parse(new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes))
}

async function readAs<T>(
  code: InstanceErrorCode,
  path: string,
  parse: (bytes: Uint8Array) => T,
): Promise<T> {
  try {
    return parse(await readFile(path))
  } catch (cause) {
    if (cause instanceof InstanceError) throw cause
    const detail = cause instanceof Error ? cause.message : 'unreadable'
    throw new InstanceError(code, `${path}: ${detail}`, { cause })
  }
}
