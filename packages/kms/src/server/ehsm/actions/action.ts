import type { Proven } from '../authenticate.ts'
import type { Ehsm } from '../ehsm.ts'
import { type Fields, parseFields, type Rules } from '../wire/fields.ts'

/** A call whose signature was checked. */
export interface Call extends Proven {
  readonly ehsm: Ehsm
  readonly appId: string
  readonly at: Date
}

/** What goes into the envelope of a success. */
export interface Reply {
  readonly message: string
  readonly result: object
}

/** One action, its fields' types behind it. */
export interface Action {
  /** Whether a payload must be there. */
  readonly needsPayload: boolean
  /** Whether it makes or uses keys and secrets that an API key alone gives the use of. */
  readonly usesOpenKeys: boolean
  /** Reads the payload; what comes back does the work once the call is proven. @throws EhsmRefusal */
  readonly prepare: (payload: Readonly<Record<string, unknown>>) => (call: Call) => Promise<Reply>
}

type Run<R extends Rules, Outcome> = (call: Call, fields: Fields<R>) => Promise<Outcome>

/** Traits that an action has only where told. */
interface Traits {
  readonly needsPayload?: boolean
  readonly usesOpenKeys?: boolean
}

/** An action whose success is told in words of its own each time. */
export function answeringAction<R extends Rules>(
  { needsPayload = false, usesOpenKeys = false }: Traits,
  rules: R,
  run: Run<R, Reply>,
): Action {
  return {
    needsPayload,
    usesOpenKeys,
    prepare: payload => {
      const fields = parseFields(rules, payload)
      return call => run(call, fields)
    },
  }
}

/** An action whose success is always told in the same words. */
export function action<R extends Rules>(
  { message, ...traits }: Traits & { readonly message: string },
  rules: R,
  run: Run<R, object>,
): Action {
  return answeringAction(traits, rules, async (call, fields) => {
    return { message, result: await run(call, fields) }
  })
}

/** An action of the cryptographic core. */
export function coreAction<R extends Rules>(rules: R, run: Run<R, object>): Action {
  return action({ needsPayload: true, usesOpenKeys: true, message: 'success!' }, rules, run)
}
