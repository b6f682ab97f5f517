import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createSealedFile, Dek, fixedPart, newDatasetId } from '@cloister/sealed'
import type { SealedPart } from './source.ts'

/** A folder for one test, and sealed files in it. */
export class TestFolder {
  readonly path = mkdtempSync(join(tmpdir(), 'cloister-engine-'))
  #count = 0

  /** Seals bytes as a part under a key of its own. */
  async seal(bytes: Uint8Array | string, segmentSize = 4096): Promise<SealedPart> {
    const dek = Dek.generate()
    const path = join(this.path, `part-${this.#count++}.sealed`)
    const writer = await createSealedFile({
      path,
      fixed: fixedPart({
        datasetId: newDatasetId(),
        part: 0,
        mediaType: 'text/csv',
        segmentSize,
      }),
      dek,
      slots: [{ kmsId: 'test', cmkId: 'test', cmkVersion: 1, wrappedDek: new Uint8Array(60) }],
    })
    await writer.write(typeof bytes === 'string' ? Buffer.from(bytes) : bytes)
    await writer.close()
    return { path, dek }
  }

  remove(): void {
    rmSync(this.path, { recursive: true, force: true })
  }
}

/** Collects what is written. */
export class MemorySink {
  readonly chunks: Uint8Array[] = []

  async write(chunk: Uint8Array): Promise<void> {
    this.chunks.push(Uint8Array.from(chunk))
  }

  get text(): string {
    return Buffer.concat(this.chunks).toString('utf8')
  }
}
