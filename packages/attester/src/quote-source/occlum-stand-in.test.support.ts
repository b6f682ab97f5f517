import { ENCLAVE, simWorld } from '../world.test.support.ts'
import { OcclumDevice } from './occlum-device.test.support.ts'

/**
 * The stand-in for Occlum's device and the platform behind it, as a process of its own, for tests
 * of other packages. Says as a line of JSON the environment in which a process has the device at
 * the path that is its argument; ends with its standard input.
 */
const [, , path = ''] = process.argv
const { platform } = simWorld()
const quoteOf = (reportData: Uint8Array) => platform.quote({ ...ENCLAVE, reportData })
const device = await new OcclumDevice(quoteOf).start()
const { LD_PRELOAD, OCCLUM_PLATFORM, OCCLUM_QUOTE } = device.environment(
  quoteOf(new Uint8Array(64)).length,
)
const environment = { LD_PRELOAD, OCCLUM_PLATFORM, OCCLUM_QUOTE, OCCLUM_DEVICE: path }
process.stdout.write(`${JSON.stringify(environment)}\n`)
process.stdin.on('close', () => device.stop()).resume()
