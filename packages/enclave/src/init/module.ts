import { fileURLToPath } from 'node:url'

/**
 * Path of init's first module, for the `bundles` of an enclave definition: every image holds it, as
 * one file, and begins with it.
 */
export function initModule(): string {
  return fileURLToPath(new URL('main.js', import.meta.url))
}

/**
 * What Node is told before init's module. Without it, Node reads the web's 140 authorities before its
 * first TLS connection, of which init trusts none: it names its key service's certificate.
 */
export const INIT_OPTION = '--use-openssl-ca'
