import { type Static, Type } from '@sinclair/typebox'
import { strict } from './fields.ts'
import { sizeInMiB } from './sizes.ts'

const Memory = Type.Integer({
  minimum: 16,
  maximum: 16_777_216,
  description: 'a whole number of MiB, at least 16',
})
const MiB = Type.Integer({ minimum: 1, maximum: 16_777_216, description: 'a whole number of MiB' })
const Threads = Type.Integer({ minimum: 1, maximum: 65_535, description: 'a number of threads' })
const Size = Type.String({
  pattern: '^\\s*[0-9]{1,12}\\s*(?:[KMGTkmgt])?[iI]?[bB]?\\s*$',
  description: 'a size such as 20GB or 512MB',
})

/** Schema of what an instance may use. The names in capitals are the older scripts'. */
export const ResourcesSchema = Type.Object(
  {
    memoryMiB: Type.Optional(Memory),
    threads: Type.Optional(Threads),
    heapMiB: Type.Optional(MiB),
    kernelHeapMiB: Type.Optional(MiB),
    SGX_MEM_SIZE: Type.Optional(Size),
    SGX_THREAD: Type.Optional(
      Type.Union([Threads, Type.String({ pattern: '^[1-9][0-9]{0,4}$' })], {
        description: 'a number of threads',
      }),
    ),
    SGX_HEAP: Type.Optional(Size),
    SGX_KERNEL_HEAP: Type.Optional(Size),
  },
  strict,
)

/** Schema of the same in a manifest: one name for each thing. */
export const MeasuredResourcesSchema = Type.Object(
  {
    memoryMiB: Memory,
    threads: Type.Optional(Threads),
    heapMiB: Type.Optional(MiB),
    kernelHeapMiB: Type.Optional(MiB),
  },
  strict,
)

/** What an instance may use. */
export type Resources = Static<typeof MeasuredResourcesSchema>

/** Names of the older scripts, and what they are here. */
export const OLDER_NAMES = {
  SGX_MEM_SIZE: 'memoryMiB',
  SGX_THREAD: 'threads',
  SGX_HEAP: 'heapMiB',
  SGX_KERNEL_HEAP: 'kernelHeapMiB',
} as const

/** A value of the older scripts as ours; undefined when it is none. */
export function olderValue(name: keyof typeof OLDER_NAMES, text: string): number | undefined {
  if (name !== 'SGX_THREAD') return sizeInMiB(text)
  const threads = /^[1-9][0-9]{0,4}$/.test(text.trim()) ? Number(text) : undefined
  return threads !== undefined && threads <= 65_535 ? threads : undefined
}

/**
 * Resources under their one name each.
 * @returns the fields at fault where the same thing is said twice, or is said by neither name
 */
export function resourcesOf(
  written: Static<typeof ResourcesSchema>,
): Resources | { readonly fault: string; readonly field: string } {
  const resources: Partial<Record<keyof Resources, number>> = {}
  for (const name of ['memoryMiB', 'threads', 'heapMiB', 'kernelHeapMiB'] as const) {
    const value = written[name]
    if (value !== undefined) resources[name] = value
  }
  for (const older of Object.keys(OLDER_NAMES) as readonly (keyof typeof OLDER_NAMES)[]) {
    const text = written[older]
    if (text === undefined) continue
    const name = OLDER_NAMES[older]
    if (resources[name] !== undefined)
      return { field: older, fault: `the same as ${name}; keep one` }
    const value = olderValue(older, String(text))
    if (value === undefined) return { field: older, fault: `cannot be ${JSON.stringify(text)}` }
    resources[name] = value
  }
  const { memoryMiB, ...rest } = resources
  if (memoryMiB === undefined || memoryMiB < 16) {
    return { field: 'memoryMiB', fault: 'wanted a whole number of MiB, at least 16' }
  }
  return { memoryMiB, ...rest }
}
