import { createPrivateKey } from 'node:crypto'
import { createSigningKey } from '@cloister/enclave'
import { makeFolder } from '../files/make-folder.ts'
import type { Session } from '../session.ts'

/** The RSA key that signs the person's images; made at first use. */
export async function signingKey(session: Session) {
  const found = await session.home.find('signingKey')
  if (found !== undefined) return createPrivateKey(found)
  await makeFolder(session.home.folder, 0o700)
  return await createSigningKey(session.home.path('signingKey'))
}
