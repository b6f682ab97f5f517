import { setFlagsFromString } from 'node:v8'

/*
 * V8 11.3, which Node 20 has, ends the process ("unreachable code", in
 * Deoptimizer::DoComputeBuiltinContinuation) when it takes back an optimised function in the middle of
 * an inlined call to WebAssembly that returns an object reference. Cedar's functions do, and the
 * collection of garbage in such a call is enough: a key service under load ended within a minute.
 */
setFlagsFromString('--no-turbo-inline-js-wasm-calls')
