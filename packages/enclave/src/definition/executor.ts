import { Type } from '@sinclair/typebox'
import { Argv, strict } from './fields.ts'

/** Ports below are for whoever owns the network: Linux's ip_unprivileged_port_start. */
const FIRST_ORDINARY_PORT = 1024

/** Schema of what further instances of a job run, and at which ports its instances reach each other. */
export const ExecutorSchema = Type.Object(
  {
    program: Argv,
    ports: Type.Array(Type.Integer({ minimum: FIRST_ORDINARY_PORT, maximum: 65_535 }), {
      minItems: 1,
      maxItems: 8,
      uniqueItems: true,
      description: 'a list of ports from 1024 on',
    }),
  },
  strict,
)
