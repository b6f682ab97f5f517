import { administer } from '../../acts.ts'
import { findKeyIn, usableKey } from '../../keys/usable.ts'
import { ROTATION_INTERVAL, rotationMs } from '../../secrets/rotation.ts'
import { secretIdOf } from '../../secrets/secrets.ts'
import { integer, optional, text, uuid } from '../../wire/fields.ts'
import { refused } from '../../wire/refusal.ts'
import { action, answeringAction } from '../action.ts'
import { description, forceDelete, secretData, secretName } from './fields.ts'
import { sealValue, secretKey } from './value.ts'

const DAY_MS = 24 * 60 * 60 * 1000
const DEFAULT_RECOVERY_DAYS = 30

/** Keeps a new secret, under a key of the account's. */
export const createSecret = answeringAction(
  { usesOpenKeys: true },
  {
    secretName,
    secretData,
    encryptionKeyId: optional(uuid),
    description: optional(description),
    rotationInterval: optional(text(2, 5, ROTATION_INTERVAL)),
  },
  async (call, fields) => {
    const { appId, at, ehsm } = call
    const { rotationInterval, secretName: name } = fields
    if (rotationInterval !== undefined) rotationMs(rotationInterval)
    const key = await secretKey(call, fields.encryptionKeyId)
    const { keyId } = key.key
    const place = { secretId: secretIdOf(appId, name), version: 1 }
    const ciphertext = sealValue(key, place, fields.secretData)
    return await administer(ehsm.service, { appId, action: 'CreateSecret', at }, async tx => {
      if ((await ehsm.secrets.find(tx, appId, name, at)) !== undefined) {
        throw refused('Secret name already exists, cannot use the same secret name')
      }
      await findKeyIn(tx, call, keyId)
      await ehsm.secrets.add(tx, {
        secret_id: place.secretId,
        app_id: appId,
        name,
        description: fields.description ?? null,
        key_id: keyId,
        rotation_interval: rotationInterval ?? null,
        current_version: 1,
        created_at: at.getTime(),
        delete_at: null,
      })
      await ehsm.secrets.addVersion(tx, place, ciphertext, at)
      const message = `The ${name} create success.`
      return [
        { message, result: {} },
        { secretId: place.secretId, keyId },
      ]
    })
  },
)

/** Changes what is said of a secret. */
export const updateSecretDesc = action(
  { usesOpenKeys: true, message: 'Update secret description success.' },
  { secretName, description: optional(description) },
  async ({ appId, at, ehsm }, fields) => {
    return await administer(ehsm.service, { appId, action: 'UpdateSecretDesc', at }, async tx => {
      const secret = await ehsm.secrets.find(tx, appId, fields.secretName, at)
      if (secret === undefined) throw refused('Cannot find secretName')
      if (secret.delete_at !== null) throw refused('Can not modify a deleted secret.')
      await ehsm.secrets.change(tx, secret, { description: fields.description ?? null })
      return [{}, { secretId: secret.secret_id }]
    })
  },
)

/** Adds a value, which is the current one from then on. */
export const putSecretValue = answeringAction(
  { usesOpenKeys: true },
  { secretName, secretData },
  async (call, fields) => {
    const { appId, at, ehsm } = call
    const { secretData: data, secretName: name } = fields
    const find = (tx: Parameters<typeof ehsm.secrets.find>[0]) =>
      ehsm.secrets.find(tx, appId, name, at)
    const found = await ehsm.service.store.read(find)
    if (found === undefined) throw refused('Can not find secretName')
    if (found.delete_at !== null) throw refused('Can not put value for a deleted secret.')
    const key = await usableKey(call, found.key_id, 'encrypt-decrypt')
    return await administer(ehsm.service, { appId, action: 'PutSecretValue', at }, async tx => {
      // Found again: it may have gone, or got another value, in between.
      const secret = await find(tx)
      if (secret?.key_id !== found.key_id) throw refused('Can not find secretName')
      if (secret.delete_at !== null) throw refused('Can not put value for a deleted secret.')
      await findKeyIn(tx, call, secret.key_id)
      const place = { secretId: secret.secret_id, version: secret.current_version + 1 }
      await ehsm.secrets.addVersion(tx, place, sealValue(key, place, data), at)
      await ehsm.secrets.change(tx, secret, { current_version: place.version })
      return [{ message: `The ${name} new version put success.`, result: {} }, place]
    })
  },
)

/** Takes a secret away: at once when forced, else when its time of grace is over. */
export const deleteSecret = answeringAction(
  {},
  { secretName, recoveryPeriod: optional(integer(1, 365)), forceDelete },
  async ({ appId, at, ehsm }, { forceDelete: force, recoveryPeriod, secretName: name }) => {
    return await administer(ehsm.service, { appId, action: 'DeleteSecret', at }, async tx => {
      const secret = await ehsm.secrets.find(tx, appId, name, at)
      if (secret === undefined || (secret.delete_at !== null && !force)) {
        throw refused('Delete error, Can not find the secretName')
      }
      const { secret_id: secretId } = secret
      if (force) {
        await ehsm.secrets.remove(tx, secretId)
        return [
          { message: `The ${name} delete success`, result: {} },
          { secretId, force },
        ]
      }
      const days = recoveryPeriod ?? DEFAULT_RECOVERY_DAYS
      const deleteAt = at.getTime() + days * DAY_MS
      await ehsm.secrets.change(tx, secret, { delete_at: deleteAt })
      const message = `The ${name} will be deleted after ${days} days.`
      return [
        { message, result: {} },
        { secretId, deleteAt },
      ]
    })
  },
)

/** Takes back a planned deletion. */
export const restoreSecret = answeringAction(
  { usesOpenKeys: true },
  { secretName },
  async ({ appId, at, ehsm }, { secretName: name }) => {
    return await administer(ehsm.service, { appId, action: 'RestoreSecret', at }, async tx => {
      const secret = await ehsm.secrets.find(tx, appId, name, at)
      if (secret === undefined) throw refused('Can not restore secret, the secretName not find.')
      const reply = { message: `The ${name} restore success.`, result: {} }
      if (secret.delete_at === null) return [reply, undefined]
      await ehsm.secrets.change(tx, secret, { delete_at: null })
      return [reply, { secretId: secret.secret_id }]
    })
  },
)
