import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

const UTIL = 'softhsm2-util'
const MODULE = [
  '/usr/lib/softhsm/libsofthsm2.so',
  '/usr/lib64/pkcs11/libsofthsm2.so',
  '/usr/lib64/libsofthsm2.so',
].find(existsSync)

/** The SoftHSM2 module, or why the tests of tokens are skipped. */
export const SOFTHSM =
  MODULE !== undefined && spawnSync(UTIL, ['--version']).status === 0
    ? { modulePath: MODULE, title: '' }
    : { modulePath: '', title: ' (skipped: softhsm2 is not installed)' }

/** The PIN of every token of these tests. */
export const PIN = '246802'

/** Makes tokens of these labels in a folder of their own, for this process. Once a process. */
export function makeTokens(folder: string, labels: readonly string[]): void {
  const tokens = join(folder, 'tokens')
  mkdirSync(tokens, { recursive: true })
  const config = join(folder, 'softhsm2.conf')
  const lines = [
    `directories.tokendir = ${tokens}`,
    'objectstore.backend = file',
    'log.level = ERROR',
  ]
  writeFileSync(config, `${lines.join('\n')}\n`)
  process.env['SOFTHSM2_CONF'] = config
  for (const label of labels) {
    util('--init-token', '--free', '--label', label, '--pin', PIN, '--so-pin', '13579135')
  }
}

/** Brings a key of this caller's own to a token. */
export function importAesKey(folder: string, label: string, idHex: string): void {
  const path = join(folder, `${idHex}.key`)
  writeFileSync(path, new Uint8Array(32).fill(5))
  const key = ['--import', path, '--aes', '--label', 'cloister root', '--id', idHex]
  util(...key, '--token', label, '--pin', PIN)
}

function util(...argv: readonly string[]): void {
  execFileSync(UTIL, [...argv], { stdio: ['ignore', 'ignore', 'pipe'] })
}
