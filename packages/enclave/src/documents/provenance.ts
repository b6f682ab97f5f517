import { createHash } from 'node:crypto'
import { canonicalJsonBytes } from '@cloister/sealed'
import type { ImageManifest } from '../image/manifest.ts'
import type { Lock } from '../lock/format.ts'
import { CLOISTER_VERSION } from './cloister-version.ts'

/**
 * What an image was made of and by what, as an in-toto statement with SLSA provenance. It is not
 * signed, bears no time and names no machine: the same build says the same.
 * @param manifestBytes - What was measured.
 * @param measurement - MRENCLAVE, 64 hexadecimal digits.
 * @see in-toto attestation framework, Statement v1; SLSA provenance v1
 */
export function encodeProvenance(
  manifest: ImageManifest,
  manifestBytes: Uint8Array,
  measurement: string,
  lock: Lock | undefined,
): Uint8Array {
  const { name, entry, network, identity, resources } = manifest
  const dependencies = new Map(
    (lock?.artefacts ?? []).map(({ purl, sha256 }) => [
      `${purl} ${sha256}`,
      { uri: purl, digest: { sha256 } },
    ]),
  )
  return canonicalJsonBytes({
    _type: 'https://in-toto.io/Statement/v1',
    subject: [
      {
        name: `${name}/manifest.json`,
        digest: { sha256: createHash('sha256').update(manifestBytes).digest('hex') },
      },
      { name, digest: { sgxMrEnclave: measurement } },
    ],
    predicateType: 'https://slsa.dev/provenance/v1',
    predicate: {
      buildDefinition: {
        buildType: 'urn:cloister:enclave-image:1',
        externalParameters: { name, entry, network, identity, resources },
        internalParameters: {},
        resolvedDependencies: [...dependencies]
          .sort(([a], [b]) => (a < b ? -1 : 1))
          .map(([, d]) => d),
      },
      runDetails: {
        builder: { id: 'urn:cloister:builder', version: { cloister: CLOISTER_VERSION } },
      },
    },
  })
}
