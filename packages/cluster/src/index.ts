export { type ExamineOptions, examineCluster } from './doctor/examine-cluster.ts'
export type { ClusterFinding } from './doctor/finding.ts'
export type { ServiceName } from './doctor/services.ts'
export type { WantedInstances } from './doctor/sgx.ts'
export { ClusterError, type ClusterErrorCode } from './errors.ts'
export type {
  Cluster,
  ClusterNode,
  ClusterPod,
  ClusterService,
  Resources,
} from './kubernetes/cluster.ts'
export { type ClusterOptions, openCluster } from './kubernetes/open-cluster.ts'
