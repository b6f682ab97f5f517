import { createHash, createPublicKey } from 'node:crypto'

/** Report data as RA-TLS has it: SHA-256 of what is bound, and zeros. */
export function boundReportData(bound: Uint8Array): Uint8Array {
  const digest = createHash('sha256').update(bound).digest()
  return new Uint8Array(Buffer.concat([digest, new Uint8Array(32)]))
}

/** A key as Open Enclave has it: PEM with the NUL at its end. */
export function pemWithNul(spki: Uint8Array): Uint8Array {
  const key = createPublicKey({ key: Buffer.from(spki), format: 'der', type: 'spki' })
  return Buffer.from(`${key.export({ format: 'pem', type: 'spki' })}\0`)
}

/** An Open Enclave report, for remote attestation. */
export function openEnclaveReport(quote: Uint8Array): Uint8Array {
  const header = Buffer.from('01000000020000000000000000000000', 'hex')
  header.writeBigUInt64LE(BigInt(quote.length), 8)
  return Buffer.concat([header, quote])
}

/** Open Enclave evidence: SGX ECDSA. */
export function openEnclaveEvidence(quote: Uint8Array, claims: Uint8Array): Uint8Array {
  const header = Buffer.alloc(32)
  header.writeUInt32LE(3)
  header.set(Buffer.from('a3a21e871b4d4014b70aa125d2fbcd8c', 'hex'), 4)
  // What a compiler leaves between the fields is whatever was there.
  header.fill(0xcc, 20, 24)
  header.writeBigUInt64LE(BigInt(quote.length + claims.length), 24)
  return Buffer.concat([header, quote, claims])
}
