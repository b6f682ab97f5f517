import { generateKeyPairSync, type KeyObject } from 'node:crypto'
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseDefinition } from '../definition/parse.ts'
import { type BuiltImage, buildImage } from '../image/build.ts'

/** Where the scripts that stand in for the backends' tools are. */
export const STANDINS = fileURLToPath(new URL('../../test/standins/', import.meta.url))

/** A script of this folder. */
export const standin = (name: string): string => join(STANDINS, name)

export const newKey = (): KeyObject =>
  generateKeyPairSync('rsa', { modulusLength: 3072, publicExponent: 3 }).privateKey

/**
 * Has itself quoted, as init does: writes report data, reads the quote. Fails where the host got a
 * variable or an argument in.
 */
const ATTEST = `#!/bin/sh
[ -z "$SECRET$LD_PRELOAD$NODE_OPTIONS" ] || exit 9
[ $# -eq 0 ] || exit 8
printf '%064d' 7 > /dev/attestation/user_report_data
cat /dev/attestation/quote
exit 7
`

/** An image whose entry point attests and ends with 7; with links, as merged systems have them. */
export async function attestingImage(
  folder: string,
  name: string,
  key: KeyObject,
  identity: { readonly svn?: number; readonly debug?: boolean } = {},
): Promise<BuiltImage> {
  const source = join(folder, `${name}.source`)
  mkdirSync(join(source, 'data'), { recursive: true })
  writeFileSync(join(source, 'attest.sh'), ATTEST)
  writeFileSync(join(source, 'data', 'a "quoted" name'), 'text\n')
  chmodSync(join(source, 'attest.sh'), 0o755)
  const { svn = 3, debug = false } = identity
  const definition = parseDefinition(`version: 1
name: ${name}
entry: { init: [/attest.sh], program: [/attest.sh] }
files:
  - { from: attest.sh, to: /attest.sh }
  - { from: /bin/dash, to: /bin/sh, libraries: true }
  - { from: /bin/cat, to: /bin/cat, libraries: true }
  - { from: data, to: /usr/share/data }
network: none
identity: { isvProdId: 7, isvSvn: ${svn}, debug: ${debug} }
resources: { memoryMiB: 300 }
`)
  const out = join(folder, `${name}.image`)
  return await buildImage({ definition, baseDir: source, out, signKey: key })
}
