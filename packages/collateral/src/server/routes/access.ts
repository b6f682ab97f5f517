import type { FastifyRequest } from 'fastify'
import { PccsError } from '../pccs-error.ts'
import type { PccsService } from '../service.ts'

type Guard = (request: FastifyRequest) => Promise<void>

/** Lets platforms in that show the user token, before anything of their request is read. */
export function usersOnly({ userToken }: PccsService): Guard {
  return async request => {
    if (!userToken.isShown(request.headers['user-token'])) throw refused('user-token')
  }
}

/** Lets administrators in that show the admin token, before anything of their request is read. */
export function adminOnly({ adminToken }: PccsService): Guard {
  return async request => {
    if (!adminToken.isShown(request.headers['admin-token'])) throw refused('admin-token')
  }
}

function refused(header: string): PccsError {
  return new PccsError('UNAUTHORIZED', `wanted the service’s token in the header ${header}`)
}
