import { existsSync, statSync } from 'node:fs'
import type { Tee } from '@cloister/attestation'
import { gramineSource } from '@cloister/attester'
import { InstanceError } from '../instance/failure.ts'
import { type InstanceLayout, layoutBelow } from '../instance/layout.ts'
import { QuoteDescriptor } from './quote-descriptor.ts'

/** Where an instance has itself quoted. */
export interface Quotes {
  /** @param reportData - 64 bytes. @throws InstanceError QUOTE */
  quote(reportData: Uint8Array): Promise<Uint8Array>
  /** Gives up what can be given up, before the program starts. */
  close(): Promise<void>
}

/** What is around an instance, by which its launcher and its platform reach it. */
export interface Surroundings {
  readonly layout: InstanceLayout
  readonly tee: Tee
  readonly quotes: Quotes
  /** Socket that leads to the key service; without one, its pin has an address that does. */
  readonly kmsSocket: string | undefined
  /** Whether the instance is one process, in which the program runs too. */
  readonly isOneProcess: boolean
}

/** A library operating system around an enclave. */
export type LibOs = 'gramine' | 'occlum'

/** Gramine's own folder, which is in no file system of the host. */
const GRAMINE = '/dev/attestation'
/** Occlum's own device. Some hosts have a folder of this name. */
const OCCLUM = '/dev/sgx'

/** The LibOS that this process runs on. No host can take its device away, or arguments would tell. */
export function libOsHere(): LibOs | undefined {
  if (existsSync(GRAMINE)) return 'gramine'
  return statSync(OCCLUM, { throwIfNoEntry: false })?.isCharacterDevice() ? 'occlum' : undefined
}

/** What a launcher of simulated enclaves puts around an instance. */
export function simulatedSurroundings(base: string): Surroundings {
  const layout = layoutBelow(base)
  const quotes = new QuoteDescriptor()
  return { layout, tee: 'sim', quotes, kmsSocket: layout.kmsSocket, isOneProcess: false }
}

/** What Gramine puts around an enclave. */
export function gramineSurroundings(): Surroundings {
  const source = gramineSource()
  const quotes: Quotes = {
    async quote(reportData) {
      try {
        return (await source.quote(reportData)).evidence
      } catch (cause) {
        const what = cause instanceof Error ? cause.message : 'the platform gave none'
        throw new InstanceError('QUOTE', what, { cause })
      }
    },
    // The folder is every thread's: the program, measured as init is, could ask there too.
    close: async () => {},
  }
  return {
    ...{ layout: layoutBelow('/'), tee: 'sgx', quotes },
    ...{ kmsSocket: undefined, isOneProcess: true },
  }
}
