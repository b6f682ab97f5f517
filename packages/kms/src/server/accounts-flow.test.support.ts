import { type ClientCertificate, KmsClient, type NewCredentialJson, SCOPES } from '../index.ts'
import type { World } from './flow.test.support.ts'

/** A credential of every scope. */
export const WHOLE = {
  name: 'test',
  kind: 'bearer',
  scopes: [...SCOPES],
} satisfies NewCredentialJson

/** A client that bears the operator's token. */
export async function operatorOf(world: World): Promise<KmsClient> {
  return world.client(await world.operatorToken())
}

/** A tenant, and a client of its first administrator. */
export async function newTenant(world: World, name: string) {
  const { operator } = await operatorOf(world)
  const { tenantId } = await operator.createTenant(name)
  const made = await operator.createAdministrator(tenantId, { name: `${name}'s administrator` })
  const credential = made.issued.credential ?? ''
  return { tenantId, credential, administrator: world.client(credential) }
}

/** A member of an administrator's tenant, with a client that bears its one credential. */
export async function newMember(
  world: World,
  administrator: KmsClient,
  credential: NewCredentialJson = WHOLE,
) {
  const { account, issued } = await administrator.accounts.create({
    name: 'member',
    kind: 'service',
    role: 'member',
    credential,
  })
  const text = issued.credential ?? ''
  const { accountId } = account
  return {
    accountId,
    credentialId: issued.description.credentialId,
    text,
    client: world.client(text),
  }
}

/** A client that presents a certificate, and a credential where one is given. */
export function certified(
  world: World,
  clientCertificate: ClientCertificate,
  credential?: string,
): KmsClient {
  const bearer = credential === undefined ? {} : { credential }
  return new KmsClient(world.kms.pin, { clientCertificate, ...bearer })
}
