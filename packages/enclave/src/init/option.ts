/**
 * What Node is told before init's module. Without it, Node reads the web's 140 authorities before its
 * first TLS connection, of which init trusts none: it names its key service's certificate.
 */
export const INIT_OPTION = '--use-openssl-ca'
