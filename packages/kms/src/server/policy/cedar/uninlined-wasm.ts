import { setFlagsFromString } from 'node:v8'

/*
 * V8 11.3 and 12.4, which Node 20 and 22 have, end the process ("unreachable code", in
 * Deoptimizer::DoComputeBuiltinContinuation) when they take back an optimised function in the middle of
 * an inlined call to WebAssembly that returns an object reference. Cedar's functions do, and the
 * collection of garbage in such a call is enough: a key service under load ended within a minute.
 */
if (Number.parseInt(process.versions.v8, 10) < 13) {
  setFlagsFromString('--no-turbo-inline-js-wasm-calls')
}
