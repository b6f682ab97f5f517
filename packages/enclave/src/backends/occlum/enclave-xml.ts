import type { ImageManifest } from '../../image/manifest.ts'
import { BackendError } from '../errors.ts'

/** Reads the numbers of the Intel SDK's signing configuration; it has elements of one level alone. */
export function parseEnclaveXml(text: string): ReadonlyMap<string, number> {
  const body =
    /^\s*(?:<\?xml[^>]*\?>)?\s*<EnclaveConfiguration>([\s\S]*)<\/EnclaveConfiguration>\s*$/.exec(
      text,
    )?.[1]
  if (body === undefined) throw new BackendError('TOOL', 'Enclave.xml: wanted EnclaveConfiguration')
  const values = new Map<string, number>()
  const element = /\s*<([A-Za-z_]+)>\s*(0x[0-9a-fA-F]+|[0-9]+)\s*<\/\1>\s*|\s*<!--[\s\S]*?-->\s*/y
  while (element.lastIndex < body.length) {
    const [, name, value] = element.exec(body) ?? [undefined, undefined, undefined]
    if (element.lastIndex === 0) throw new BackendError('TOOL', 'Enclave.xml: not understood')
    if (name === undefined || value === undefined) continue
    if (values.has(name)) throw new BackendError('TOOL', `Enclave.xml: ${name} stands twice`)
    values.set(name, Number(value))
  }
  return values
}

/**
 * Checks that what Occlum hands to the signing tool is what the image states.
 * @throws BackendError with `TOOL`.
 */
export function assertEnclaveXml(text: string, { identity }: ImageManifest): void {
  const values = parseEnclaveXml(text)
  const wanted = {
    ProdID: identity.isvProdId,
    ISVSVN: identity.isvSvn,
    DisableDebug: identity.debug ? 0 : 1,
  }
  for (const [name, value] of Object.entries(wanted)) {
    const seen = values.get(name)
    if (seen !== value) {
      throw new BackendError(
        'TOOL',
        `Enclave.xml: ${name}: wanted ${value}, seen ${seen ?? 'none'}`,
      )
    }
  }
}
