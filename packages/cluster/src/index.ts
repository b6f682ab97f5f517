export { type ExamineOptions, examineCluster } from './doctor/examine-cluster.ts'
export type { ClusterFinding } from './doctor/finding.ts'
export type { ServiceName } from './doctor/services.ts'
export type { WantedInstances } from './doctor/sgx.ts'
export { ClusterError, type ClusterErrorCode, RunError, type RunErrorCode } from './errors.ts'
export type {
  Cluster,
  ClusterNode,
  ClusterPod,
  ClusterService,
  Resources,
} from './kubernetes/cluster.ts'
export { type Connection, connect } from './kubernetes/connection.ts'
export type { ClusterOptions } from './kubernetes/kubeconfig.ts'
export { openCluster } from './kubernetes/open-cluster.ts'
export { type FollowOptions, followRun, type RunEvent } from './run/follow.ts'
export { listRuns, type RunList, type RunState, type RunSummary } from './run/list.ts'
export {
  type Rendered,
  type RenderedSparkSubmit,
  type RunObjects,
  renderRun,
  renderSparkSubmit,
} from './run/objects.ts'
export {
  type Confinement,
  JOB_FOLDER,
  type Peer,
  type RunForm,
  type RunPlan,
  type SgxPlan,
  type WayOut,
} from './run/plan.ts'
export type { Trouble } from './run/pods.ts'
export { removeRun } from './run/remove.ts'
export { submitRun } from './run/submit.ts'
export { NO_TEMPLATE, type PodTemplate, parsePodTemplate } from './run/template.ts'
