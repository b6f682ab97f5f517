export { type EhsmAccount, rekeyEhsmAccount } from './accounts.ts'
export { type Ehsm, type EhsmOptions, openEhsm } from './ehsm.ts'
export { rekeyEhsmKey } from './keys/keys.ts'
export { EHSM_PATH, ehsmRoutes, isEhsmPath } from './routes.ts'
