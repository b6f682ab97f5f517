import {
  encodeFrame,
  FrameReader,
  type InstanceEnd,
  type LaunchEvent,
} from '@cloister/enclave/launcher'
import type { JobFile } from '@cloister/engine/job'
import type { KmsPin } from '@cloister/kms'
import { Type } from '@sinclair/typebox'
import { Value } from '@sinclair/typebox/value'
import { ContainerError } from './errors.ts'
import type { ToldError } from './told-error.ts'

/**
 * What a launcher in a container is to do. It goes through a socket, and so neither into the
 * container's arguments or environment nor into a file.
 */
export interface Order {
  readonly kind: 'order'
  /** The form of these messages. */
  readonly version: typeof VERSION
  /** Its folders are the container's. */
  readonly job: JobFile
  readonly pin: KmsPin
  readonly instanceName: string
  /** What the image was made for, and what it takes to run that. */
  readonly in:
    | {
        readonly tee: 'sim'
        readonly platform: string
        readonly withoutSandbox: boolean
        readonly part: Part
      }
    | { readonly tee: 'sgx'; readonly libpal: string | null }
}

/** What a container has of a job: all of it, or one of its instances. */
export type Part =
  | { readonly role: 'alone' }
  | { readonly role: 'driver'; readonly executors: number }
  /** `id` is what the driver's launcher knows this one by. */
  | { readonly role: 'executor'; readonly id: string }

/** The form of the messages; a launcher of another one says so. */
export const VERSION = 1

/** What goes into the container. */
export type ToContainer =
  | Order
  /** Go on: the key service may be spoken to. */
  | { readonly kind: 'go' }
  | { readonly kind: 'signal'; readonly signal: NodeJS.Signals }
  | { readonly kind: 'abort' }

/** How a job ended in a container. */
export type Ended = InstanceEnd & {
  readonly isolation?: Extract<LaunchEvent, { readonly kind: 'isolation' }>['isolation']
  readonly usage?: object
}

/** What came of a container: how its job ended, or that it had an executor until the run was over. */
export type Served = Ended | 'served'

/** What comes out of it. */
export type FromContainer =
  | { readonly kind: 'event'; readonly event: LaunchEvent }
  /** The image was verified. */
  | { readonly kind: 'verified' }
  | { readonly kind: 'ended'; readonly end: Ended }
  /** An executor was here until the run was over. */
  | { readonly kind: 'served' }
  | { readonly kind: 'threw'; readonly error: ToldError }

const text = Type.String()
const lack = Type.Object({ code: text, message: text })
const limiter = Type.Union(
  ['cgroup-v2', 'cgroup-v1', 'rlimit', 'none'].map(name => Type.Literal(name)),
)
const isolation = Type.Object({
  sandbox: text,
  confinement: text,
  systemCalls: text,
  limits: Type.Object({ memory: limiter, processes: limiter }),
  missing: Type.Array(lack),
})
const event = Type.Union([
  Type.Object({ kind: Type.Literal('image'), measurement: text, debug: Type.Boolean() }),
  Type.Object({ kind: Type.Literal('isolation'), isolation, message: text }),
  Type.Object({ kind: Type.Literal('started'), pid: Type.Integer() }),
  Type.Object({ kind: Type.Literal('quoted') }),
  Type.Object({ kind: Type.Literal('step'), step: text }),
  Type.Object({ kind: Type.Literal('run'), runId: text }),
  Type.Object({ kind: Type.Literal('executor'), name: text, pid: Type.Integer() }),
  Type.Object({ kind: Type.Literal('executor'), name: text, step: text }),
  Type.Object({ kind: Type.Literal('executor'), name: text, host: text }),
  Type.Object({ kind: Type.Literal('listening'), address: text }),
  Type.Object({ kind: Type.Literal('waiting'), message: text }),
  Type.Object({ kind: Type.Literal('warning'), code: text, message: text }),
])
const failure = Type.Object({
  where: text,
  code: text,
  message: text,
  reasons: Type.Array(lack),
})
const of = { isolation: Type.Optional(isolation), usage: Type.Optional(Type.Object({})) }
const end = Type.Union([
  Type.Object({
    outcome: Type.Literal('completed'),
    exitCode: Type.Literal(0),
    receipt: text,
    ...of,
  }),
  Type.Object({
    outcome: Type.Literal('failed'),
    exitCode: Type.Integer({ minimum: 1, maximum: 255 }),
    failure,
    signal: Type.Union([text, Type.Null()]),
    ...of,
  }),
])
const told = Type.Recursive(self =>
  Type.Object({
    name: text,
    message: text,
    code: Type.Optional(text),
    path: Type.Optional(text),
    reasons: Type.Optional(Type.Array(Type.Unknown())),
    cause: Type.Optional(self),
  }),
)
const fromContainer = Type.Union([
  Type.Object({ kind: Type.Literal('event'), event }),
  Type.Object({ kind: Type.Literal('verified') }),
  Type.Object({ kind: Type.Literal('ended'), end }),
  Type.Object({ kind: Type.Literal('served') }),
  Type.Object({ kind: Type.Literal('threw'), error: told }),
])

/** A message's bytes. */
export function encodeMessage(message: ToContainer | FromContainer): Uint8Array {
  return encodeFrame(Buffer.from(JSON.stringify(message)))
}

/** Takes what comes out of a container apart. */
export class ContainerReader {
  readonly #frames = new FrameReader()

  /** @throws ContainerError START for what is no message */
  push(bytes: Uint8Array): readonly FromContainer[] {
    try {
      return this.#frames.push(bytes).map(messageOf)
    } catch (cause) {
      const why = 'what answers from the container is no launcher of this version'
      throw new ContainerError('START', why, { cause })
    }
  }
}

function messageOf(bytes: Uint8Array): FromContainer {
  const value: unknown = JSON.parse(Buffer.from(bytes).toString('utf8'))
  return Value.Decode(fromContainer, value) as FromContainer
}
