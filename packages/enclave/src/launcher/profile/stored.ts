import { type Static, Type } from '@sinclair/typebox'
import { Value } from '@sinclair/typebox/value'

const strict = { additionalProperties: false } as const
const Count = Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER })

const StoredProfileSchema = Type.Object(
  {
    version: Type.Literal(1),
    measurement: Type.String({ pattern: '^[0-9a-f]{64}$' }),
    at: Type.String(),
    profile: Type.Object(
      {
        peakMemoryBytes: Count,
        memoryBy: Type.Union([
          Type.Literal('cgroup-v1'),
          Type.Literal('cgroup-v2'),
          Type.Literal('processes'),
        ]),
        peakProcesses: Count,
        peakThreads: Count,
      },
      strict,
    ),
    advised: Type.Object({ memoryMiB: Count, threads: Count }, strict),
  },
  strict,
)

/** What was measured of an image's run, as it is kept. */
export type StoredProfile = Static<typeof StoredProfileSchema>

/** Reads what was kept; undefined for anything else. */
export function parseStoredProfile(json: string): StoredProfile | undefined {
  try {
    const value: unknown = JSON.parse(json)
    return Value.Check(StoredProfileSchema, value) ? value : undefined
  } catch {
    return undefined
  }
}
