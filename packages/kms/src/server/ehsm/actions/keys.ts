import { isSymmetric, type KeySpec, newKeyMaterial } from '../../crypto/index.ts'
import { administer } from '../acts.ts'
import type { EhsmKey, KeyUsage } from '../keys/description.ts'
import { oneOf, uuid } from '../wire/fields.ts'
import { failed, refused } from '../wire/refusal.ts'
import { action, type Call, coreAction } from './action.ts'
import { KEYSPECS, ORIGINS, USAGES } from './names.ts'

const keyid = uuid

/** Makes a key; nothing but its id is ever told of it. */
export const createKey = coreAction(
  {
    keyspec: oneOf(KEYSPECS),
    origin: oneOf(ORIGINS),
    keyusage: (_name, value: unknown): unknown => value,
  },
  async (call, { keyspec, keyusage, origin }) => {
    if (keyspec === 'HMAC') throw failed()
    const usage = keyusage === undefined ? usualUse(keyspec) : USAGES.get(keyusage)
    if (usage === undefined || (isSymmetric(keyspec) && usage !== 'encrypt-decrypt')) throw failed()
    // Before the transaction: an RSA key takes its time.
    const material = origin === 'internal' ? await newKeyMaterial(keyspec) : undefined
    try {
      return await makeKey(call, { spec: keyspec, origin, usage, material })
    } finally {
      material?.fill(0)
    }
  },
)

/** Clients of before there were usages send none. */
function usualUse(spec: KeySpec): KeyUsage {
  return spec.startsWith('EC_') ? 'sign-verify' : 'encrypt-decrypt'
}

async function makeKey(
  { appId, at, ehsm }: Call,
  wanted: Pick<EhsmKey, 'spec' | 'origin' | 'usage'> & {
    readonly material: Uint8Array | undefined
  },
): Promise<object> {
  const act = { appId, action: 'CreateKey', at }
  return await administer(ehsm.service, act, async tx => {
    const key = await ehsm.keys.create(tx, { ...wanted, appId, isDefault: false, at })
    const { origin, spec, usage } = wanted
    return [{ keyid: key.keyId }, { keyId: key.keyId, keyspec: `EH_${spec}`, origin, usage }]
  })
}

/** All of an account's keys but its default one. */
export const listKey = action({ message: 'successful' }, {}, async ({ appId, ehsm }) => {
  const keys = await ehsm.service.store.read(tx => ehsm.keys.list(tx, appId))
  const list = keys.map(key => ({
    keyid: key.keyId,
    creationDate: key.createdAt,
    expireTime: key.expiresAt,
    alias: '',
    keyspec: `EH_${key.spec}`,
    keyState: key.state === 'enabled' ? 1 : 0,
  }))
  return { list }
})

/** Takes a key away for good; succeeds also where there is none of the account's. */
export const deleteKey = action(
  { message: 'successful' },
  { keyid },
  async (call, { keyid: keyId }) => {
    const { appId, at, ehsm } = call
    return await administer(ehsm.service, { appId, action: 'DeleteKey', at }, async tx => {
      const key = (await ehsm.keys.open(tx, keyId))?.key
      if (key?.appId !== appId || key.isDefault) return [{}, undefined]
      await ehsm.keys.remove(tx, [key])
      return [{}, { keyId }]
    })
  },
)

/** Takes all keys of an account away for good, but its default one, which its secrets are under. */
export const deleteAllKey = action({ message: 'successful' }, {}, async call => {
  const { appId, at, ehsm } = call
  return await administer(ehsm.service, { appId, action: 'DeleteAllKey', at }, async tx => {
    const keys = await ehsm.keys.list(tx, appId)
    await ehsm.keys.remove(tx, keys)
    return [{}, keys.length === 0 ? undefined : { keys: keys.length }]
  })
})

function settingState(name: 'EnableKey' | 'DisableKey', state: EhsmKey['state']) {
  const traits = { message: 'successful', usesOpenKeys: state === 'enabled' }
  return action(traits, { keyid }, async ({ appId, at, ehsm }, { keyid: keyId }) => {
    return await administer(ehsm.service, { appId, action: name, at }, async tx => {
      const key = (await ehsm.keys.open(tx, keyId))?.key
      if (key?.appId !== appId || key.isDefault) {
        throw refused('not find this keyid', tx.guard.has('keys', keyId) ? 'KEY_MODE' : undefined)
      }
      if (key.state === state) return [{}, undefined]
      await ehsm.keys.setState(tx, key, state)
      return [{}, { keyId }]
    })
  })
}

/** Lets a key be used again. */
export const enableKey = settingState('EnableKey', 'enabled')

/** Stops a key from being used. */
export const disableKey = settingState('DisableKey', 'disabled')
