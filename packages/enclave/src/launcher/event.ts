import type { Step } from '../instance/status.ts'
import type { Isolation } from './isolation.ts'

/** What happens on the way, for whoever watches. Nothing in it is proof of anything. */
export type LaunchEvent =
  | { readonly kind: 'image'; readonly measurement: string; readonly debug: boolean }
  | { readonly kind: 'isolation'; readonly isolation: Isolation; readonly message: string }
  | { readonly kind: 'started'; readonly pid: number }
  | { readonly kind: 'quoted' }
  | { readonly kind: 'step'; readonly step: Step }
  /** The driver has begun a run of several instances. */
  | { readonly kind: 'run'; readonly runId: string }
  /** Of one of its executors: its process, as the host sees it, or on which host it is; or a step. */
  | ({ readonly kind: 'executor'; readonly name: string } & (
      | { readonly pid: number }
      | { readonly host: string }
      | { readonly step: Step }
    ))
  /** Hosts for executors may call in. */
  | { readonly kind: 'listening'; readonly address: string }
  /** Somebody of another host is waited for. */
  | { readonly kind: 'waiting'; readonly message: string }
  | { readonly kind: 'warning'; readonly code: string; readonly message: string }
