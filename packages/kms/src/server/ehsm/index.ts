export { type Ehsm, type EhsmOptions, openEhsm } from './ehsm.ts'
export { EHSM_PATH, ehsmRoutes, isEhsmPath } from './routes.ts'
