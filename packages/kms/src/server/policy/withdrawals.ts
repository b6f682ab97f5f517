import { createHash } from 'node:crypto'
import type { StoreTransaction } from '../store/index.ts'
import type { WithdrawalsTable } from '../store/schema.ts'
import { PolicyError } from './errors.ts'
import type { DenialReason } from './reasons.ts'
import type { WorkloadClaims } from './request.ts'

/** Who withdraws: an account, for its own keys, or the operator, for all. */
export type Withdrawer = { readonly accountId: string } | 'operator'

/** A measurement or a signer that nothing is released to, whatever a policy says. */
export interface Withdrawal {
  /** 32 lower-case hexadecimal digits. */
  readonly withdrawalId: string
  readonly by: Withdrawer
  readonly kind: 'measurement' | 'signer'
  /** Lower-case hexadecimal. */
  readonly value: string
  readonly reason: string
  readonly createdAt: string
}

const nameOf = (by: Withdrawer): string => (by === 'operator' ? 'operator' : by.accountId)

/** One id for each thing withdrawn, so that looking for one finds it or finds that it was tampered with. */
function idOf(by: Withdrawer, kind: Withdrawal['kind'], value: string): string {
  const label = 'cloister withdrawal v1'
  const text = [label, nameOf(by), kind, value].join('\n')
  return createHash('sha256').update(text).digest('hex').slice(0, 32)
}

/** What was withdrawn. Looked at before any policy. */
export class Withdrawals {
  /** Withdraws something; what is withdrawn already stays so. */
  async add(
    tx: StoreTransaction,
    withdrawal: Omit<Withdrawal, 'withdrawalId' | 'createdAt'>,
    at: Date,
  ): Promise<Withdrawal> {
    const { by, kind, reason, value } = withdrawal
    const id = idOf(by, kind, value)
    const before = await this.#find(tx, id)
    if (before !== undefined) return before
    const columns = {
      withdrawal_id: id,
      by: nameOf(by),
      kind,
      value,
      reason,
      created_at: at.toISOString(),
    }
    const row = { ...columns, ...tx.guard.stamp<WithdrawalsTable>('withdrawals', id, columns) }
    tx.insert('withdrawals', row)
    return withdrawalFrom(row)
  }

  /** Takes a withdrawal back. @throws PolicyError WITHDRAWAL_NOT_FOUND, also where it is another's */
  async undo(tx: StoreTransaction, by: Withdrawer, withdrawalId: string): Promise<Withdrawal> {
    const found = await this.#find(tx, withdrawalId)
    if (found === undefined || nameOf(found.by) !== nameOf(by)) {
      throw new PolicyError('WITHDRAWAL_NOT_FOUND', `there is no withdrawal ${withdrawalId}`)
    }
    tx.guard.remove('withdrawals', withdrawalId)
    await tx.db.deleteFrom('withdrawals').where('withdrawal_id', '=', withdrawalId).execute()
    return found
  }

  /** What was withdrawn by some, oldest first. @throws StoreError ROW_MAC */
  async list(
    { db, guard }: StoreTransaction,
    by: readonly Withdrawer[],
  ): Promise<readonly Withdrawal[]> {
    const query = db.selectFrom('withdrawals').selectAll().where('by', 'in', by.map(nameOf))
    const rows = await query.orderBy('created_at').orderBy('withdrawal_id').execute()
    for (const row of rows) guard.proven('withdrawals', row.withdrawal_id, row)
    return rows.map(withdrawalFrom)
  }

  /**
   * Why nothing is released to an instance; none where nothing of it was withdrawn.
   * @param owner - The account whose keys it wants; without one, what the operator withdrew alone counts
   * @throws StoreError ROW_MAC
   */
  async against(
    tx: StoreTransaction,
    { authorKeyDigest, idKeyDigest, measurement, mrSigner }: WorkloadClaims,
    owner: string | undefined,
  ): Promise<readonly DenialReason[]> {
    const reasons: DenialReason[] = []
    for (const by of [
      'operator',
      ...(owner === undefined ? [] : [{ accountId: owner }]),
    ] as const) {
      for (const [kind, value] of [
        ['measurement', measurement],
        ['signer', mrSigner],
        ['signer', idKeyDigest],
        ['signer', authorKeyDigest],
      ] as const) {
        if (value === undefined) continue
        const found = await this.#find(tx, idOf(by, kind, value))
        if (found !== undefined) reasons.push(reasonFor(found))
      }
    }
    return reasons
  }

  async #find(tx: StoreTransaction, id: string): Promise<Withdrawal | undefined> {
    if (!tx.guard.has('withdrawals', id)) return undefined
    const row = await tx.find('withdrawals', id)
    return row === undefined ? undefined : withdrawalFrom(row)
  }
}

function reasonFor({ by, createdAt, kind, reason, value }: Withdrawal): DenialReason {
  const who = by === 'operator' ? 'the operator of the key service' : 'the owner of the key'
  const why = reason === '' ? '' : `: ${reason}`
  const message = `${kind} ${value} was withdrawn by ${who} at ${createdAt}${why}`
  return { code: 'WITHDRAWN', message, wanted: `another ${kind}`, seen: value }
}

function withdrawalFrom(row: WithdrawalsTable): Withdrawal {
  return {
    withdrawalId: row.withdrawal_id,
    by: row.by === 'operator' ? 'operator' : { accountId: row.by },
    kind: row.kind,
    value: row.value,
    reason: row.reason,
    createdAt: row.created_at,
  }
}
