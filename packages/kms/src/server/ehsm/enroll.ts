import type { FastifyRequest } from 'fastify'
import { KmsError } from '../../protocol/errors.ts'
import { newKeyMaterial } from '../crypto/index.ts'
import { administer } from './acts.ts'
import type { Ehsm } from './ehsm.ts'
import { refused } from './wire/refusal.ts'

/**
 * Opens an account, with the key that its secrets are under. Unless enrolment is open, this takes the
 * enrolment token, as a bearer token.
 * @throws EhsmRefusal
 */
export async function enroll(ehsm: Ehsm, request: FastifyRequest): Promise<object> {
  const { accounts, keys, options, service } = ehsm
  if (options.openEnrolment !== true) await takeToken(ehsm, request)
  const at = service.now()
  const material = await newKeyMaterial('AES_GCM_256')
  const act = { appId: undefined, action: 'Enroll', at }
  return await administer(service, act, async tx => {
    const { apiKey, appId } = await accounts.create(tx, at)
    const usage = 'encrypt-decrypt'
    const spec = 'AES_GCM_256'
    await keys.create(tx, {
      appId,
      spec,
      origin: 'internal',
      usage,
      isDefault: true,
      material,
      at,
    })
    const isOpen = options.openEnrolment === true
    return [
      { appid: appId, apikey: apiKey },
      { appId, openEnrolment: isOpen },
    ]
  }).finally(() => material.fill(0))
}

async function takeToken({ service }: Ehsm, request: FastifyRequest): Promise<void> {
  const [, token = ''] =
    /^Bearer ([\x21-\x7e]{1,128})$/.exec(request.headers.authorization ?? '') ?? []
  try {
    await service.enrolment.take(token)
  } catch (error) {
    if (!(error instanceof KmsError && error.code === 'ENROLMENT_REFUSED')) throw error
    throw refused(
      'enrolment takes the enrolment token of the key service (Authorization: Bearer), unless it runs with --ehsm-open-enrolment',
    )
  }
}
