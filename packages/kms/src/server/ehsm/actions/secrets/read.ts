import { usableKey } from '../../keys/usable.ts'
import { rotationMs } from '../../secrets/rotation.ts'
import type { Secret } from '../../secrets/secrets.ts'
import { integer, optional } from '../../wire/fields.ts'
import { refused } from '../../wire/refusal.ts'
import { action } from '../action.ts'
import { secretName } from './fields.ts'
import { openValue } from './value.ts'

/** What every listing says of a secret. */
function summaryOf(secret: Secret): object {
  const { created_at: createTime, delete_at: plannedDeleteTime, description, name } = secret
  return {
    secretName: name,
    ...(description === null ? {} : { description }),
    createTime,
    ...(plannedDeleteTime === null ? {} : { plannedDeleteTime }),
  }
}

/** No rotation is carried out: only the next date is reckoned. */
function rotationOf({ created_at: createdAt, rotation_interval: interval }: Secret): object {
  if (interval === null) return {}
  const nextRotationDate = createdAt + rotationMs(interval)
  return { rotationInterval: interval, lastRotationDate: '', nextRotationDate }
}

/** An account's secrets, or the one of a name. */
export const listSecrets = action(
  { usesOpenKeys: true, message: 'List secrets success.' },
  { secretName: optional(secretName) },
  async ({ appId, at, ehsm }, { secretName: name }) => {
    const all = await ehsm.service.store.read(tx => ehsm.secrets.list(tx, appId, at))
    const found = all.filter(secret => name === undefined || secret.name === name)
    return { totalCount: found.length, secretList: found.map(summaryOf) }
  },
)

/** What there is to say of a secret; nothing where there is none. */
export const describeSecret = action(
  { usesOpenKeys: true, message: 'Describe secrets success.' },
  { secretName },
  async ({ appId, at, ehsm }, { secretName: name }) => {
    const find = ehsm.service.store.read(tx => ehsm.secrets.find(tx, appId, name, at))
    const secret = await find
    return secret === undefined ? {} : { ...summaryOf(secret), ...rotationOf(secret) }
  },
)

/** The numbers of a secret's values; none of one that is planned for deletion. */
export const listSecretVersionIds = action(
  { usesOpenKeys: true, message: 'List secret versionIds success.' },
  { secretName },
  async ({ appId, at, ehsm }, { secretName: name }) => {
    const versions = await ehsm.service.store.read(async tx => {
      const secret = await ehsm.secrets.find(tx, appId, name, at)
      if (secret === undefined || secret.delete_at !== null) return []
      return await ehsm.secrets.versions(tx, secret.secret_id)
    })
    const versionIds = versions.map(({ created_at: createTime, version: versionId }) => ({
      versionId,
      createTime,
    }))
    return { secretName: name, totalCount: versionIds.length, versionIds }
  },
)

/** A secret's value, the current one unless told. */
export const getSecretValue = action(
  { usesOpenKeys: true, message: 'successful' },
  { secretName, versionId: optional(integer(1, Number.MAX_SAFE_INTEGER)) },
  async (call, { secretName: name, versionId }) => {
    const { appId, at, ehsm } = call
    const found = await ehsm.service.store.read(async tx => {
      const secret = await ehsm.secrets.find(tx, appId, name, at)
      if (secret === undefined || secret.delete_at !== null) return undefined
      const { current_version: current, secret_id: secretId } = secret
      return { secret, value: await ehsm.secrets.version(tx, secretId, versionId ?? current) }
    })
    if (found === undefined) throw refused(`Can't find the ${name}'s value.`)
    const { secret, value } = found
    if (value === undefined) return {}
    const key = await usableKey(call, secret.key_id, 'encrypt-decrypt')
    const { ciphertext, created_at: createTime, version } = value
    const secretData = openValue(key, { secretId: secret.secret_id, version }, ciphertext)
    return { secretName: name, secretData, versionId: version, createTime }
  },
)
