import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { IMAGE_MANIFEST, ROOT } from '../backends/gramine/template.ts'
import { treeRoot } from '../backends/occlum/tree.ts'
import { parseManifest } from '../image/manifest.ts'
import { openImage } from '../image/verify.ts'
import type { MeasurementFacts } from '../measurement-file/measurement-file.ts'
import { EnclaveFileError } from './errors.ts'
import { enclaveFileKind } from './kind.ts'

/**
 * What a builder states of an enclave beside its SIGSTRUCT: its name, and how far its measurement
 * covers its files.
 * @param name - For what has no name of its own.
 * @throws EnclaveFileError with `KIND` where there is no name, or no enclave; ImageError
 */
export async function measurementFacts(path: string, name?: string): Promise<MeasurementFacts> {
  const kind = await enclaveFileKind(path)
  switch (kind) {
    case 'image': {
      const { manifest } = await openImage(path)
      return { kind, name: manifest.name, files: 'measured', merkleRoot: manifest.merkleRoot }
    }
    case 'gramine': {
      const manifest = parseManifest(await readFile(join(path, ROOT, IMAGE_MANIFEST)))
      return { kind, name: manifest.name, files: 'measured', merkleRoot: manifest.merkleRoot }
    }
    case 'occlum': {
      const tree = join(path, 'image')
      const manifest = parseManifest(await readFile(join(tree, IMAGE_MANIFEST)))
      const files = 'not-against-a-malicious-host'
      return { kind, name: manifest.name, files, merkleRoot: await treeRoot(tree) }
    }
    case 'sgxs':
    case 'sdk-elf':
      if (name !== undefined) return { kind, name, files: 'unknown', merkleRoot: null }
      throw new EnclaveFileError('KIND', `${path} has no name: wanted one for it`)
    case 'sigstruct':
      throw new EnclaveFileError('KIND', `${path}: a SIGSTRUCT holds no enclave`)
  }
}
