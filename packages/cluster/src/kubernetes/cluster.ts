/** Amounts by the name of the resource, in its own unit: bytes, pieces. */
export type Resources = ReadonlyMap<string, number>

/** A machine of a cluster. */
export interface ClusterNode {
  readonly name: string
  readonly labels: Readonly<Record<string, string>>
  /** Whether it is ready, and pods are placed on it. */
  readonly isUsable: boolean
  /** What pods may ask for, altogether. */
  readonly allocatable: Resources
}

/** A pod that is not over. */
export interface ClusterPod {
  readonly namespace: string
  readonly name: string
  /** The machine that it was given; undefined while it waits for one. */
  readonly node: string | undefined
  readonly isReady: boolean
  readonly labels: Readonly<Record<string, string>>
  /** Images of its containers. */
  readonly images: readonly string[]
  /** What it takes of its machine. */
  readonly requests: Resources
  /** Why its containers do not run, as the cluster says: `ImagePullBackOff`. */
  readonly waiting: readonly string[]
}

/** A service, and what stands behind it. */
export interface ClusterService {
  readonly namespace: string
  readonly name: string
  readonly readyEndpoints: number
  readonly endpoints: number
  /** What its pods are known by; empty where it has no pods of the cluster. */
  readonly selector: Readonly<Record<string, string>>
}

/** What is looked at of a cluster. Each throws `ClusterError`. */
export interface Cluster {
  /** Where its API is. */
  readonly url: string
  /** Whether the API's certificate is verified. */
  readonly isVerified: boolean
  /** Such as `v1.36.3`. */
  version(): Promise<string>
  nodes(): Promise<readonly ClusterNode[]>
  pods(): Promise<readonly ClusterPod[]>
  /** Services that bear labels, in any namespace. */
  services(labels: Readonly<Record<string, string>>): Promise<readonly ClusterService[]>
  /** One service; undefined where it is not there. */
  service(namespace: string, name: string): Promise<ClusterService | undefined>
}
