import { CodedError } from '@cloister/sealed'

/**
 * Why something was not done with tenants, accounts or credentials. `NOT_FOUND`: there is none of that
 * id in the caller's tenant, whatever there is in others. `MORE_THAN_OWN`: a credential would make
 * what may do more, with more keys or for longer than itself. `CERTIFICATE`: the certificate is not
 * there, not valid, not in its caller's hands, or taken. `STATE`: the credential has ended.
 */
export type AccountCode =
  | 'NOT_FOUND'
  | 'MORE_THAN_OWN'
  | 'CERTIFICATE'
  | 'STATE'
  | 'TOO_MANY'
  | 'NOT_ADMINISTRATOR'

/** Thrown when something is not done with tenants, accounts or credentials. */
export class AccountError extends CodedError<AccountCode> {}
