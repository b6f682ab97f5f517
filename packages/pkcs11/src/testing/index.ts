export { importAesKey, makeTokens, PIN, SOFTHSM } from './softhsm.ts'
