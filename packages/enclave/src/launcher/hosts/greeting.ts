import { Value } from '@sinclair/typebox/value'
import { type HostAddress, HostAddressSchema } from './address.ts'

/** Longest line that a connection between hosts begins with, with its end. */
export const MAX_GREETING = 512

/** A host that offers itself for an executor. */
export interface Offer {
  /** SHA-256 of the job's statement, 64 digits: both hosts have the same job in mind. */
  readonly job: string
  /** 32 digits, drawn at random by each process that offers itself. */
  readonly id: string
  /** Where it listens, where it does: the host as well, where it is not the one it calls from. */
  readonly listens?: { readonly port: number; readonly host?: string | undefined } | undefined
}

/** What a caller from another host wants. */
export type Greeting =
  /** To be given a place; messages follow, both ways. */
  | { readonly kind: 'join'; readonly offer: Offer }
  /** To be led to an instance; TLS of the instances follows. */
  | { readonly kind: 'peer'; readonly name: string; readonly ticket: string }
  /** To hand over a connection that it was asked to fetch. */
  | { readonly kind: 'take'; readonly token: string }

const JOIN = /^join 1 ([0-9a-f]{64}) ([0-9a-f]{32})(?: ([1-9]\d{0,4})(?: (\S+))?)?$/
const TAKE = /^take ([0-9a-f]{32})$/
const PEER = /^(driver|executor-[1-9]\d{0,2}) ([0-9a-f]{32})$/

/** Reads the first line of a connection, without its end; undefined for anything else. */
export function parseGreeting(line: string): Greeting | undefined {
  const [, token] = TAKE.exec(line) ?? []
  if (token !== undefined) return { kind: 'take', token }
  const [, name, ticket] = PEER.exec(line) ?? []
  if (name !== undefined && ticket !== undefined) return { kind: 'peer', name, ticket }
  const [, job, id, port, host] = JOIN.exec(line) ?? []
  if (job === undefined || id === undefined) return undefined
  if (port === undefined) return { kind: 'join', offer: { job, id } }
  const listens = { port: Number(port), ...(host === undefined ? {} : { host }) }
  const isAddress = Value.Check(HostAddressSchema, { host: 'any', ...listens } as HostAddress)
  return isAddress ? { kind: 'join', offer: { job, id, listens } } : undefined
}

/** The first line of a connection, with its end. */
export function encodeGreeting(greeting: Greeting): string {
  switch (greeting.kind) {
    case 'join': {
      const { job, id, listens } = greeting.offer
      const { port, host } = listens ?? {}
      return `${['join 1', job, id, port, host].filter(word => word !== undefined).join(' ')}\n`
    }
    case 'take':
      return `take ${greeting.token}\n`
    case 'peer':
      return `${greeting.name} ${greeting.ticket}\n`
  }
}
