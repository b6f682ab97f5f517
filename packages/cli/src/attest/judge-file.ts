import {
  type Appraisal,
  appraiseEvidence,
  explainAppraisal,
  parseEventLog,
  type SimPlatform,
  type VerifiedEvidence,
  verifyEventLog,
} from '@cloister/attestation'
import { Home } from '../home.ts'
import { UsageError } from '../usage-error.ts'
import { describeClaims } from './describe-claims.ts'
import { readInput } from './input-file.ts'
import { type VerifyFlags, verifyFile } from './verify-file.ts'

/** Flags of the commands that verify and appraise. */
export interface JudgeFlags extends VerifyFlags {
  readonly home?: string
  readonly policy?: string
  readonly eventLog?: string
}

/** What was found of evidence. */
export interface Judged {
  readonly claims: VerifiedEvidence
  /** Absent where no policy was given. */
  readonly appraisal: Appraisal | undefined
  /** How many events the registers vouch for, where a log was given. */
  readonly events: number | undefined
  /** The policy's verdict, for people. */
  readonly explanation: string
  /** All of it, for people. */
  readonly text: string
}

/** Verifies the evidence of a file, and appraises it where a policy is given. */
export async function judgeFile(file: string, flags: JudgeFlags): Promise<Judged> {
  const policy = flags.policy === undefined ? undefined : await policyOf(flags.policy)
  const claims = await verifyFile(file, flags, policy, await simulatedOf(flags))
  const appraisal = policy === undefined ? undefined : appraiseEvidence(claims, policy)
  const explanation =
    appraisal === undefined
      ? 'verified, NOT APPRAISED: give --policy to say what you demand of it'
      : explainAppraisal(appraisal)
  const events = flags.eventLog === undefined ? undefined : await eventsOf(flags.eventLog, claims)
  const log = events === undefined ? [] : [`event log: ${events} events lead to RTMR0 to RTMR3`]
  const text = [describeClaims(claims), ...log, explanation].join('\n')
  return { claims, appraisal, events, explanation, text }
}

/** Compares an event log with the registers of a verified trust domain. */
async function eventsOf(file: string, claims: VerifiedEvidence): Promise<number> {
  if (claims.kind !== 'td') {
    throw new UsageError('an event log is of a trust domain', 'leave --event-log out')
  }
  const log = parseEventLog(await readInput(file))
  return verifyEventLog(log, claims).length
}

/** YAML is loaded only where there is a policy. */
async function policyOf(file: string) {
  const { readPolicyFile } = await import('../appraisal-policy.ts')
  return await readPolicyFile(file)
}

async function simulatedOf(flags: JudgeFlags): Promise<SimPlatform | undefined> {
  if (flags.allowSimulatedPlatform !== true) return undefined
  // Loaded only here: it brings the key service’s client with it.
  const { simulatedPlatform } = await import('../simulated-platform.ts')
  return await simulatedPlatform(new Home(flags.home))
}
