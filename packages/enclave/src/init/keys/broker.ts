import type { Tee } from '@cloister/attestation'
import {
  type AttestedSession,
  jobDigest,
  KmsConnectionError,
  KmsError,
  type ReleasedKeys,
} from '@cloister/kms'
import { pathOfPart, type VerifiedPart } from '@cloister/sealed'
import { addressesOf, DRIVER } from '../../instance/together.ts'
import { keyOfPart, type OpenedInput } from '../inputs.ts'
import { freshKeys, mediaTypeOf } from '../outputs.ts'
import { isAway } from '../recording-client.ts'
import type { DriversRun } from '../running.ts'
import { BrokerError } from './errors.ts'
import type { BrokerOutput } from './output.ts'
import { parseRequest, type RequestTo } from './request.ts'

/** What a broker answers from. */
export interface BrokerOptions {
  readonly session: Pick<AttestedSession, 'job' | 'releaseOutputs'>
  /** What the evidence was taken for, and by which key service. */
  readonly attested: { readonly tee: Tee; readonly kmsId: string }
  readonly released: ReleasedKeys
  readonly inputs: readonly OpenedInput[]
  readonly outputs: readonly BrokerOutput[]
  /** Folders as the program sees them. */
  readonly layout: {
    readonly scratchFolder: string
    inputFolder(name: string): string
  }
  /** The run, where the job runs as several instances. */
  readonly run?: Pick<DriversRun, 'runId' | 'executors' | 'ports'>
}

/**
 * Answers what a program asks about its job: which parts its inputs have, their keys, new keys for
 * the sealed files that it writes, which of these are an output's parts, and the keys of those again.
 * @see docs/protocols/key-broker.md
 */
export class KeyBroker {
  readonly #options: BrokerOptions
  /** Parts by file id, by the input's name. */
  readonly #files: ReadonlyMap<string, ReadonlyMap<string, VerifiedPart>>

  constructor(options: BrokerOptions) {
    this.#options = options
    this.#files = new Map(
      options.inputs.map(({ name, dataset }) => [
        name,
        new Map(dataset.parts.map(part => [part.entry.fileId, part])),
      ]),
    )
  }

  /**
   * @param executor - The name of the executor that asks, where it is not this instance's program.
   * @throws BrokerError what is refused
   */
  async answer(bytes: Uint8Array, executor?: string): Promise<object> {
    const request = parseRequest(bytes)
    switch (request.ask) {
      case 'job':
        return this.#job()
      case 'run':
        return this.#run(executor)
      case 'evidence':
        return this.#evidence()
      case 'parts':
        return this.#parts(request)
      case 'open':
        return this.#open(request)
      case 'create':
        return await this.#create(request)
      case 'written':
        return this.#written(request)
      case 'reopen':
        return this.#reopen(request)
      case 'commit':
        if (executor === undefined) return await this.#commit(request)
        throw new BrokerError(
          'DENIED',
          `an output's parts are the driver's to say; seen ${executor}`,
        )
    }
  }

  #job(): object {
    const { inputs, outputs, layout } = this.#options
    return {
      version: 1,
      inputs: inputs.map(({ name, format, dataset: { manifest, parts } }) => ({
        ...{ name, datasetId: manifest.datasetId, version: manifest.version, format },
        ...{ mediaType: manifest.mediaType, folder: layout.inputFolder(name) },
        parts: parts.length,
      })),
      outputs: outputs.map(({ planned: { output, folder } }) => ({
        ...{ name: output.name, datasetId: output.datasetId, format: output.format },
        ...{
          mediaType: mediaTypeOf(output),
          folder: folder.folder,
          partsFolder: folder.unfinished,
        },
      })),
      scratchFolder: layout.scratchFolder,
    }
  }

  #run(executor: string | undefined): object {
    const { run } = this.#options
    if (run === undefined) return { role: 'alone' }
    const { runId, executors, ports } = run
    const addresses = addressesOf(executors)
    const name = executor ?? DRIVER
    return {
      ...{ role: executor === undefined ? 'driver' : 'executor', name, runId, executors, ports },
      ...{ address: addresses.get(name), driver: addresses.get(DRIVER) },
    }
  }

  #evidence(): object {
    const { session, attested } = this.#options
    const { job } = session
    const { measurement } = job
    return { ...attested, measurement, jobDigest: Buffer.from(jobDigest(job)).toString('hex') }
  }

  #parts({ input, from, size }: RequestTo<'parts'>): object {
    const { parts } = this.#input(input).dataset
    return {
      parts: parts.slice(from, from + size).map(({ number, entry, header }) => {
        const { name, fileId, fixedDigest, length, lastTag, rows } = entry
        const path = pathOfPart({ ...entry, number, mediaType: header.fixed.mediaType })
        return { number, name, path, fileId, fixedDigest, length, lastTag, rows }
      }),
    }
  }

  #open({ input, files }: RequestTo<'open'>): object {
    const { name } = this.#input(input)
    const parts = this.#files.get(name)
    const deks = files.map(fileId => {
      const part = parts?.get(fileId)
      if (part === undefined) {
        throw new BrokerError('UNKNOWN_FILE', `input ${name} has no file ${fileId}`)
      }
      return [fileId, textOf(keyOfPart(name, part, this.#options.released).exposeBytes())] as const
    })
    return { deks: Object.fromEntries(deks) }
  }

  async #create({ output, files }: RequestTo<'create'>): Promise<object> {
    const target = this.#output(output)
    const { session } = this.#options
    target.reserve(files)
    try {
      const asked = files.map(({ fileId, fixedDigest }) => ({
        fileId,
        fixedDigestHex: fixedDigest,
      }))
      const { datasetId } = target.planned.output
      const keys = await freshKeys(session, new Map([[datasetId, asked]]))
      const given = files.map(({ fileId, fixedDigest }) => {
        const key = keys.get(fileId)
        if (key === undefined) throw new BrokerError('DENIED', `no key came for file ${fileId}`)
        target.give(fileId, { dek: key.dek, fixedDigest })
        const { kmsId, cmkId, cmkVersion, wrappedDek } = key.slot
        const slot = { kmsId, cmkId, cmkVersion, wrappedDek: textOf(wrappedDek) }
        return [fileId, { dek: textOf(key.dek.exposeBytes()), slots: [slot] }] as const
      })
      return { files: Object.fromEntries(given) }
    } catch (error) {
      target.release(files)
      throw refusalOf(error)
    }
  }

  #written({ output, from, size }: RequestTo<'written'>): object {
    const { commits, parts } = this.#output(output).written
    return { commits, total: parts.length, parts: parts.slice(from, from + size) }
  }

  #reopen({ output, files }: RequestTo<'reopen'>): object {
    const keys = this.#output(output).reopen(files)
    return { deks: Object.fromEntries(keys.map(([id, dek]) => [id, textOf(dek.exposeBytes())])) }
  }

  async #commit({ output, mode, parts }: RequestTo<'commit'>): Promise<object> {
    await this.#output(output).commit(mode, parts)
    return {}
  }

  #input(name: string): OpenedInput {
    const { inputs } = this.#options
    const input = inputs.find(candidate => candidate.name === name)
    if (input !== undefined) return input
    throw new BrokerError('UNKNOWN_INPUT', noneOf('input', name, inputs))
  }

  #output(name: string): BrokerOutput {
    const { outputs } = this.#options
    const output = outputs.find(({ planned }) => planned.output.name === name)
    if (output !== undefined) return output
    const names = outputs.map(({ planned }) => planned.output)
    throw new BrokerError('UNKNOWN_OUTPUT', noneOf('output', name, names))
  }
}

function noneOf(what: string, seen: string, named: readonly { readonly name: string }[]): string {
  const wanted = named.map(({ name }) => name).join(', ') || 'none'
  return `${what}s of the job: ${wanted}; seen ${JSON.stringify(seen)}`
}

function textOf(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('base64url')
}

/** What the key service said, in the broker's words. */
function refusalOf(cause: unknown): unknown {
  if (isAway(cause)) {
    return new BrokerError('UNAVAILABLE', 'the key service does not answer', { cause })
  }
  if (cause instanceof KmsError) {
    const reasons = cause.reasons.map(({ code, message }) => `${code}: ${message}`)
    const message = [cause.message, ...reasons].join('; ')
    return new BrokerError('DENIED', message, { cause })
  }
  if (cause instanceof KmsConnectionError)
    return new BrokerError('DENIED', cause.message, { cause })
  return cause
}
