import { isSymmetric, symmetricLength } from '../../crypto/index.ts'
import { administer } from '../acts.ts'
import { newWrappingKey } from '../keys/imports.ts'
import { findKey, findKeyIn } from '../keys/usable.ts'
import { base64, oneOf, optional, text, uuid } from '../wire/fields.ts'
import { failed } from '../wire/refusal.ts'
import { coreAction } from './action.ts'
import { PADDINGS, WRAPPING_KEYSPECS } from './names.ts'

/** Gives a fresh key to encrypt material to, and the token that lets it in. */
export const getParametersForImport = coreAction(
  { keyid: uuid, keyspec: oneOf(WRAPPING_KEYSPECS) },
  async (call, { keyid, keyspec }) => {
    const { appId, at, ehsm } = call
    const { key } = await findKey(call, keyid)
    if (key.origin !== 'external' || !isSymmetric(key.spec)) {
      throw failed('GetParametersForImport failed.')
    }
    const wrapping = await newWrappingKey(keyspec)
    const act = { appId, action: 'GetParametersForImport', at }
    const importToken = await administer(ehsm.service, act, async tx => {
      // Found again: a wrapping key takes its time.
      await findKeyIn(tx, call, keyid)
      return [await ehsm.imports.begin(tx, keyid, wrapping, at), { keyId: keyid }]
    }).finally(() => wrapping.material.fill(0))
    return { pubkey: wrapping.pem, importToken }
  },
)

/** Takes a key's material in, once: what is encrypted under a key must stay so. */
export const importKeyMaterial = coreAction(
  {
    keyid: uuid,
    key_material: base64(1, 8192),
    padding_mode: oneOf(PADDINGS),
    importToken: optional(text(1, 8192)),
  },
  async (call, fields) => {
    const { appId, at, ehsm } = call
    const { encryption: padding } = fields.padding_mode
    return await administer(ehsm.service, { appId, action: 'ImportKeyMaterial', at }, async tx => {
      const { key, material: before } = await findKeyIn(tx, call, fields.keyid)
      if (key.origin !== 'external') throw failed('ImportKeyMaterial failed.')
      if (padding === undefined || padding === 'none' || before !== undefined) {
        throw failed('Import key failed.')
      }
      const request = {
        keyId: key.keyId,
        token: fields.importToken,
        wrapped: fields.key_material,
        padding,
      }
      const material = await ehsm.imports.finish(tx, request, at)
      try {
        if (!isSymmetric(key.spec) || material.length !== symmetricLength(key.spec)) {
          throw failed('Import key failed.')
        }
        await ehsm.keys.setMaterial(tx, key, material)
        return [{ result: true }, { keyId: key.keyId }]
      } finally {
        material.fill(0)
      }
    })
  },
)
