import type { FastifyInstance, FastifyRequest } from 'fastify'
import { parseCiphertext } from '../../protocol/ciphertext.ts'
import { fromBase64Url, toBase64Url } from '../../protocol/encoding.ts'
import { KmsError } from '../../protocol/errors.ts'
import { requests } from '../../protocol/messages.ts'
import { cmkId, parseAs } from '../../protocol/schema.ts'
import type { Caller } from '../accounts/index.ts'
import type { Act } from '../acts.ts'
import {
  algorithmsOf,
  type CmkUsage,
  decryptUnder,
  encryptUnder,
  newDataKey,
  type OpenedKey,
  publicKeyOf,
  signUnder,
  verifyUnder,
} from '../keys/index.ts'
import type { KmsService } from '../service.ts'
import type { StoreTransaction } from '../store/index.ts'
import type { Reply } from './key-answer.ts'
import { keyOf } from './key-name.ts'
import { requireKey } from './needs.ts'
import { idOf, ownerUseThen, requireOwner } from './owner.ts'

/** Length of a data key unless told. */
const DATA_KEY_LENGTH = 32

/**
 * Routes by which owners use their open keys: each reads the key in one step, and works with it when
 * the store is free for others again.
 */
export function dataRoutes(app: FastifyInstance, service: KmsService): void {
  app.post('/v1/keys/:id/encrypt', async (request): Reply<'encrypt'> => {
    const body = parseAs('request', requests.encrypt, request.body)
    const { encryptionAlgorithm: algorithm, encryptionContext: context = {} } = body
    const bytes = fromBase64Url('plaintext', body.plaintext)
    const wanted = { action: 'encrypt', usage: 'ENCRYPT_DECRYPT' } as const
    return await usingKey(service, request, wanted, opened => {
      const ciphertext = toBase64Url(encryptUnder(opened, { bytes, context, algorithm }))
      return { ...placeOf(opened), ciphertext, encryptionAlgorithm: algorithmOf(opened) }
    }).finally(() => bytes.fill(0))
  })

  app.post('/v1/keys/:id/decrypt', async (request): Reply<'decrypt'> => {
    const body = parseAs('request', requests.decrypt, request.body)
    const { encryptionAlgorithm: algorithm, encryptionContext: context = {} } = body
    const bytes = fromBase64Url('ciphertext', body.ciphertext)
    const wanted = { action: 'decrypt', usage: 'ENCRYPT_DECRYPT', ciphertext: bytes } as const
    return await usingKey(service, request, wanted, opened => {
      const plaintext = textOf(decryptUnder(opened, { bytes, context, algorithm }))
      return { ...placeOf(opened), plaintext, encryptionAlgorithm: algorithmOf(opened) }
    })
  })

  app.post('/v1/keys/:id/re-encrypt', async (request): Reply<'reEncrypt'> => {
    return await reEncrypt(service, request)
  })

  for (const [verb, action] of [
    ['generate-data-key', 'generate-data-key'],
    ['generate-data-key-without-plaintext', 'generate-data-key'],
  ] as const) {
    app.post(
      `/v1/keys/:id/${verb}`,
      async (request): Reply<'dataKey' | 'dataKeyWithoutPlaintext'> => {
        const body = parseAs('request', requests.generateDataKey, request.body)
        const { encryptionContext = {}, length = DATA_KEY_LENGTH } = body
        const wanted = { action, usage: 'ENCRYPT_DECRYPT' } as const
        return await usingKey(service, request, wanted, opened => {
          const made = newDataKey(opened, length, encryptionContext)
          const plaintext = textOf(made.plaintext)
          const given = { ...placeOf(opened), ciphertext: toBase64Url(made.ciphertext) }
          return verb === 'generate-data-key' ? { ...given, plaintext } : given
        })
      },
    )
  }

  app.post('/v1/keys/:id/sign', async (request): Reply<'sign'> => {
    const body = parseAs('request', requests.sign, request.body)
    const toSign = signingOf(body)
    const wanted = { action: 'sign', usage: 'SIGN_VERIFY' } as const
    return await usingKey(service, request, wanted, opened => {
      const signature = toBase64Url(signUnder(opened, toSign))
      return { ...placeOf(opened), signature, signingAlgorithm: body.signingAlgorithm }
    })
  })

  app.post('/v1/keys/:id/verify', async (request): Reply<'verify'> => {
    const body = parseAs('request', requests.verify, request.body)
    const toVerify = { ...signingOf(body), signature: fromBase64Url('signature', body.signature) }
    const wanted = { action: 'verify', usage: 'SIGN_VERIFY' } as const
    return await usingKey(service, request, wanted, opened => {
      const valid = verifyUnder(opened, toVerify)
      return { ...placeOf(opened), valid, signingAlgorithm: body.signingAlgorithm }
    })
  })

  app.get('/v1/keys/:id/public-key', async (request): Reply<'publicKey'> => {
    return await usingKey(service, request, { action: 'get-public-key' }, opened => {
      const { spec, usage } = opened.key
      return {
        ...placeOf(opened),
        publicKey: publicKeyOf(opened),
        ...{ keySpec: spec, keyUsage: usage, algorithms: [...algorithmsOf(spec, usage)] },
      }
    })
  })
}

interface Wanted {
  readonly action: string
  /** Any where left out. */
  readonly usage?: CmkUsage
  /** What is to be decrypted, which names its key and version where that is symmetric. */
  readonly ciphertext?: Uint8Array
}

/** Opens the key that a route names, for its owner, and works with it. */
async function usingKey<T>(
  service: KmsService,
  request: FastifyRequest,
  { action, ...wanted }: Wanted,
  work: (opened: OpenedKey) => T,
): Promise<T> {
  const open = async (tx: StoreTransaction, owner: string, act: Act, caller: Caller) => {
    const keyId = await keyOf(service, tx, caller.account.accountId, request)
    return await openFor(service, tx, { owner, act, caller, keyId, ...wanted })
  }
  return await ownerUseThen(service, request, action, {}, open, work)
}

async function openFor(
  service: KmsService,
  tx: StoreTransaction,
  wanted: Omit<Wanted, 'action'> & {
    readonly owner: string
    readonly act: Act
    readonly caller: Caller
    readonly keyId: string
  },
): Promise<OpenedKey> {
  const { act, caller, ciphertext, keyId, owner, usage } = wanted
  requireKey(caller, keyId)
  act.details['keyId'] = keyId
  return await service.keys.open(tx, {
    keyId,
    ...(usage === undefined ? {} : { usage }),
    authorise: key => requireOwner(owner, key.owner, act),
    versionOf: key =>
      ciphertext === undefined || key.spec !== 'SYMMETRIC_DEFAULT'
        ? key.currentVersion
        : versionIn(ciphertext, keyId),
  })
}

/** @throws KmsError CIPHERTEXT_INVALID */
function versionIn(bytes: Uint8Array, keyId: string): number {
  const ciphertext = parseCiphertext(bytes)
  if (ciphertext.keyId === keyId) return ciphertext.keyVersion
  throw new KmsError('CIPHERTEXT_INVALID', 'the ciphertext is of another key')
}

/** From one ciphertext to another, both under open keys of one owner; the plaintext stays here. */
async function reEncrypt(service: KmsService, request: FastifyRequest): Reply<'reEncrypt'> {
  const body = parseAs('request', requests.reEncrypt, request.body)
  const keyId = idOf(request, cmkId)
  const { destinationKeyId = keyId, encryptionContext: context = {} } = body
  const { destinationContext = context } = body
  const bytes = fromBase64Url('ciphertext', body.ciphertext)
  const usage = 'ENCRYPT_DECRYPT'
  const details = { keyId, destinationKeyId }
  const open = async (tx: StoreTransaction, owner: string, act: Act, caller: Caller) => {
    const by = { owner, act, caller, usage } as const
    const to = await openFor(service, tx, { ...by, keyId: destinationKeyId })
    const from = await openFor(service, tx, { ...by, keyId, ciphertext: bytes })
    return { from, to }
  }
  return await ownerUseThen(service, request, 're-encrypt', details, open, ({ from, to }) => {
    const plaintext = decryptUnder(from, { bytes, context })
    try {
      const again = encryptUnder(to, { bytes: plaintext, context: destinationContext })
      return { ...placeOf(to), ciphertext: toBase64Url(again), sourceKeyId: keyId }
    } finally {
      plaintext.fill(0)
    }
  })
}

function placeOf({ key, version }: OpenedKey) {
  return { keyId: key.keyId, keyVersion: version }
}

/** The one way in which a key that encrypts does so. */
function algorithmOf({ key }: OpenedKey) {
  switch (key.spec) {
    case 'SYMMETRIC_DEFAULT':
      return 'SYMMETRIC_DEFAULT' as const
    case 'SM2':
      return 'SM2PKE' as const
    default:
      return 'RSAES_OAEP_SHA_256' as const
  }
}

function signingOf(body: {
  readonly message: string
  readonly messageType?: 'RAW' | 'DIGEST'
  readonly signingAlgorithm: Parameters<typeof signUnder>[1]['algorithm']
}) {
  return {
    kind: body.messageType === 'DIGEST' ? ('digest' as const) : ('raw' as const),
    message: fromBase64Url('message', body.message),
    algorithm: body.signingAlgorithm,
  }
}

/** A plaintext as text; its bytes are zeroed. */
function textOf(plaintext: Uint8Array): string {
  const text = toBase64Url(plaintext)
  plaintext.fill(0)
  return text
}
