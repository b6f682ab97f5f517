import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'

/** `(func (export "f") (result externref) (call $back) (ref.null extern))`, where `back` is imported. */
const MODULE = `
  0061736d 01000000  01 08 02 60 00 00 60 00 01 6f  02 0a 01 04 68 6f 73 74 01 62 00 00
  03 02 01 01  07 05 01 01 66 00 01  0a 08 01 06 00 10 00 d0 6f 0b`

/** Takes an optimised function back while its call to WebAssembly has not come back. */
const SCRIPT = `
  let isCalledBack = false
  const host = { b: () => { if (isCalledBack) { %DeoptimizeFunction(call) } } }
  const bytes = Buffer.from(${JSON.stringify(MODULE)}.replaceAll(/\\s/g, ''), 'hex')
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(bytes), { host })
  function call() { return [exports.f()] }
  ;%PrepareFunctionForOptimization(call);
  for (let count = 0; count < 100; count++) call();
  ;%OptimizeFunctionOnNextCall(call);
  call()
  isCalledBack = true
  console.log(call().length)`

function run(...flags: readonly string[]) {
  const argv = ['--allow-natives-syntax', ...flags, '--eval', SCRIPT]
  const { signal, stdout } = spawnSync(process.execPath, argv, { encoding: 'utf8' })
  return { signal, stdout }
}

describe('an optimised function that is taken back during a call of Cedar’s kind', () => {
  it('does not end the process', () => {
    const module = fileURLToPath(new URL('./cedar.js', import.meta.url))
    expect(run('--import', module)).toEqual({ signal: null, stdout: '1\n' })
  })

  // What the module is there for; where this fails, this version has been mended.
  it.runIf(Number.parseInt(process.versions.v8, 10) < 13)('ends it without our module', () => {
    expect(run().signal).not.toBeNull()
  })
})
