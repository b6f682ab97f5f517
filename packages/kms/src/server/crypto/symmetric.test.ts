import { randomBytes } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import {
  type CryptoError,
  decryptData,
  encryptData,
  isSymmetric,
  KEY_SPECS,
  symmetricLength,
} from './index.ts'

const AAD = Buffer.from('bound')
const specs = KEY_SPECS.filter(isSymmetric)

function codeOf(work: () => unknown): string {
  try {
    work()
  } catch (error) {
    return (error as CryptoError).code
  }
  return 'nothing thrown'
}

describe.each(specs)('data under %s', spec => {
  const key = randomBytes(symmetricLength(spec))

  it.each([0, 1, 15, 16, 17, 6144])('of %i bytes comes back', length => {
    const data = randomBytes(length)
    const ciphertext = encryptData(spec, key, data, AAD)
    const overhead = spec.startsWith('AES') ? 28 : spec === 'SM4_CTR' ? 16 : 32 - (length % 16)
    expect(ciphertext).toHaveLength(length + overhead)
    expect(Buffer.from(decryptData(spec, key, ciphertext, AAD)).equals(data)).toBe(true)
  })

  it('is refused where it is too short to be any', () => {
    for (const length of [0, 5, 15]) {
      expect(codeOf(() => decryptData(spec, key, randomBytes(length), AAD))).toBe('DECRYPT')
    }
  })
})

it('AES-GCM notices any change of a bit, and other associated data', () => {
  const key = randomBytes(16)
  const ciphertext = encryptData('AES_GCM_128', key, Buffer.from('plain'), AAD)
  for (let bit = 0; bit < ciphertext.length * 8; bit++) {
    const bent = Uint8Array.from(ciphertext)
    bent[bit >> 3] = (bent[bit >> 3] ?? 0) ^ (1 << (bit & 7))
    expect(codeOf(() => decryptData('AES_GCM_128', key, bent, AAD))).toBe('DECRYPT')
  }
  expect(codeOf(() => decryptData('AES_GCM_128', key, ciphertext, Buffer.of()))).toBe('DECRYPT')
})
