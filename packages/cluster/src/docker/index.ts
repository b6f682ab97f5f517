// Jobs in containers of this host, for commands that are to begin at once: loads no Kubernetes client.
export { runContained } from './contained.ts'
export type { ContainerEvent } from './conversation.ts'
export { ContainerError, type ContainerErrorCode } from './errors.ts'
export { type ContainerOptions, runInContainer } from './run-in-container.ts'
