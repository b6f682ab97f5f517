import { cloisterVersion } from './version.ts'

/** The name that docs/docker.md has the image of this version built under. */
export const cloisterImage = (): string => `cloister:${cloisterVersion()}`
