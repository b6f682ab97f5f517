import { type Static, Type } from '@sinclair/typebox'
import { Value } from '@sinclair/typebox/value'
import { BackendError } from '../errors.ts'

const strict = { additionalProperties: false } as const
const size = Type.String({ pattern: '^ *[0-9]+ *(B|KB|MB|GB|TB) *$' })
const flag = Type.Boolean()
const u32 = Type.Integer({ minimum: 0, maximum: 2 ** 32 - 1 })
const kssId = Type.Object(
  {
    high: Type.String({ pattern: '^0x[0-9a-fA-F]{1,16}$' }),
    low: Type.String({ pattern: '^0x[0-9a-fA-F]{1,16}$' }),
  },
  strict,
)

const layerOptions = Type.Object(
  {
    MAC: Type.Optional(Type.String()),
    temporary: Type.Optional(flag),
    cache_size: Type.Optional(size),
  },
  strict,
)
const layer = Type.Object(
  {
    target: Type.String(),
    type: Type.Literal('sefs'),
    source: Type.Optional(Type.String()),
    options: Type.Optional(layerOptions),
  },
  strict,
)
const mount = Type.Object(
  {
    target: Type.String({ pattern: '^/' }),
    type: Type.Union(
      (['sefs', 'unionfs', 'hostfs', 'ramfs', 'procfs', 'devfs', 'ext2'] as const).map(name =>
        Type.Literal(name),
      ),
    ),
    source: Type.Optional(Type.String()),
    options: Type.Optional(
      Type.Object(
        {
          MAC: Type.Optional(Type.String()),
          temporary: Type.Optional(flag),
          cache_size: Type.Optional(size),
          layers: Type.Optional(Type.Array(layer)),
          disk_size: Type.Optional(size),
        },
        strict,
      ),
    ),
  },
  strict,
)

const configSchema = Type.Object(
  {
    resource_limits: Type.Object(
      {
        kernel_space_heap_size: size,
        kernel_space_heap_max_size: Type.Optional(size),
        kernel_space_stack_size: size,
        user_space_size: size,
        user_space_max_size: Type.Optional(size),
        max_num_of_threads: u32,
        init_num_of_threads: Type.Optional(u32),
        marshal_buffer_size: Type.Optional(size),
      },
      strict,
    ),
    process: Type.Object(
      { default_stack_size: size, default_heap_size: size, default_mmap_size: size },
      strict,
    ),
    entry_points: Type.Array(Type.String({ pattern: '^/' })),
    env: Type.Object(
      { default: Type.Array(Type.String()), untrusted: Type.Array(Type.String()) },
      strict,
    ),
    metadata: Type.Object(
      {
        product_id: u32,
        version_number: u32,
        debuggable: flag,
        disable_log: Type.Optional(flag),
        enable_kss: flag,
        family_id: kssId,
        ext_prod_id: kssId,
      },
      strict,
    ),
    feature: Type.Object(
      {
        amx: Type.Optional(u32),
        pkru: Type.Optional(u32),
        io_uring: Type.Optional(u32),
        enable_edmm: Type.Optional(flag),
        enable_posix_shm: Type.Optional(flag),
      },
      strict,
    ),
    mount: Type.Array(mount),
  },
  strict,
)

/**
 * `Occlum.json` of Occlum 0.31, in full. Occlum ignores keys that it does not know; here they are
 * refused, as whoever wrote them meant something.
 */
export type OcclumConfig = Static<typeof configSchema>

/** Reads an `Occlum.json`. @throws BackendError with `MANIFEST`. */
export function parseOcclumConfig(text: string): OcclumConfig {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (cause) {
    throw new BackendError('MANIFEST', 'Occlum.json: not JSON', { cause })
  }
  if (Value.Check(configSchema, value)) return value
  const first = Value.Errors(configSchema, value).First()
  const where = first?.path || '/'
  throw new BackendError('MANIFEST', `Occlum.json: ${where}: ${first?.message ?? 'not valid'}`)
}
