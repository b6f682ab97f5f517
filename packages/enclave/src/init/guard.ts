import inspector from 'node:inspector'
import { InstanceError } from '../instance/failure.ts'
import { INIT_OPTION } from './option.ts'

/** What bubblewrap and shells set of themselves, all of it without effect on Node. */
const HARMLESS = new Set(['PWD', 'OLDPWD', 'SHLVL', '_'])

/**
 * Refuses to go on when the host reached into the process: an environment variable (`NODE_OPTIONS`
 * and `LD_PRELOAD` among them), an option of Node's but init's own, or an open inspector.
 * @throws InstanceError HOST_ENVIRONMENT, naming what was there and never its value
 */
export function assertUntouched(): void {
  const variables = Object.keys(process.env).filter(name => !HARMLESS.has(name))
  if (variables.length > 0) {
    throw new InstanceError(
      'HOST_ENVIRONMENT',
      `init: wanted an empty environment, saw ${variables.join(', ')}`,
    )
  }
  const { execArgv } = process
  const given = execArgv.filter(option => option !== INIT_OPTION)
  if (given.length > 0) {
    const options = given.map(option => option.split('=', 1)[0])
    throw new InstanceError(
      'HOST_ENVIRONMENT',
      `init: wanted no options but its own, saw ${options.join(', ')}`,
    )
  }
  assertNoInspector()
}

/**
 * Refuses arguments where an enclave has none: what is measured says where everything is.
 * @throws InstanceError HOST_ENVIRONMENT
 */
export function assertNoArguments(): void {
  const seen = process.argv.length - 2
  if (seen === 0) return
  const message = `init: wanted no arguments in an enclave, saw ${seen}`
  throw new InstanceError('HOST_ENVIRONMENT', message)
}

/** @throws InstanceError HOST_ENVIRONMENT when an inspector listens in this process */
export function assertNoInspector(): void {
  if (inspector.url() !== undefined) {
    throw new InstanceError('HOST_ENVIRONMENT', 'init: an inspector is open in this process')
  }
}
