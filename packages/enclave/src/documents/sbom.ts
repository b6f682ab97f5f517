import { createHash } from 'node:crypto'
import { canonicalJsonBytes } from '@cloister/sealed'
import type { ImageEntry } from '../image/manifest.ts'
import type { ImagePlan } from '../image/plan.ts'
import type { Artefact } from '../lock/format.ts'
import { CLOISTER_VERSION } from './cloister-version.ts'
import { usedPackages } from './origins.ts'

/** An image, as far as its bill of materials is about it. */
export interface BillOfMaterials {
  readonly name: string
  readonly isvSvn: number
  readonly plan: ImagePlan
  readonly entries: readonly ImageEntry[]
}

/** A UUID made of a digest: the same content has the same serial number. @see RFC 9562, section 5.8 */
function uuidOf(bytes: Uint8Array): string {
  const digest = createHash('sha256').update(bytes).digest().subarray(0, 16)
  digest[6] = ((digest[6] ?? 0) & 0x0f) | 0x80
  digest[8] = ((digest[8] ?? 0) & 0x3f) | 0x80
  const hex = digest.toString('hex')
  return [8, 12, 16, 20, 32]
    .map((end, index, ends) => hex.slice(ends[index - 1] ?? 0, end))
    .join('-')
}

function packageComponent(artefact: Artefact): object {
  const { name, version, purl, sha256 } = artefact
  const sha512 = 'integrity' in artefact ? artefact.integrity.slice('sha512-'.length) : undefined
  return {
    type: artefact.kind === 'node' ? 'platform' : 'library',
    'bom-ref': purl,
    name,
    version,
    purl,
    hashes: [
      { alg: 'SHA-256', content: sha256 },
      ...(sha512 === undefined
        ? []
        : [{ alg: 'SHA-512', content: Buffer.from(sha512, 'base64').toString('hex') }]),
    ],
  }
}

/** Files of no package, which nobody could look up. */
function* fileComponents({ plan, entries }: BillOfMaterials): Generator<object> {
  for (const entry of entries) {
    const origin = plan.get(entry.path)?.origin
    if (entry.type !== 'file' || origin === undefined || origin.artefact !== undefined) continue
    if (origin.rule === 'bytecode') continue
    yield {
      type: 'file',
      'bom-ref': `file:/${entry.path}`,
      name: `/${entry.path}`,
      hashes: [{ alg: 'SHA-256', content: entry.sha256 }],
    }
  }
}

/**
 * The bill of materials of an image, in CycloneDX 1.6: every package of which something is in it,
 * and every file of no package. The same for the same image.
 * @see CycloneDX specification 1.6 (ECMA-424)
 */
export function encodeSbom(image: BillOfMaterials): Uint8Array {
  const reference = `image:${image.name}`
  const packages = usedPackages(image.plan)
  // The same package in several folders is one component.
  const byPurl = new Map(packages.map(artefact => [artefact.purl, artefact]))
  const components = [...[...byPurl.values()].map(packageComponent), ...fileComponents(image)]
  const bom = {
    $schema: 'http://cyclonedx.org/schema/bom-1.6.schema.json',
    bomFormat: 'CycloneDX',
    specVersion: '1.6',
    version: 1,
    metadata: {
      tools: {
        components: [{ type: 'application', name: 'cloister', version: CLOISTER_VERSION }],
      },
      component: {
        type: 'container',
        'bom-ref': reference,
        name: image.name,
        version: `${image.isvSvn}`,
      },
    },
    components,
    dependencies: [{ ref: reference, dependsOn: [...byPurl.keys()].sort() }],
  }
  const serialNumber = `urn:uuid:${uuidOf(canonicalJsonBytes(bom))}`
  return canonicalJsonBytes({ ...bom, serialNumber })
}
