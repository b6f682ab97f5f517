import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'

/** Packages that a built module and whatever it imports of its own package load. */
function packagesOf(module: URL, seen = new Set<string>()): Set<string> {
  const packages = new Set<string>()
  if (seen.has(module.href)) return packages
  seen.add(module.href)
  const code = readFileSync(module, 'utf8')
  for (const [, specifier = ''] of code.matchAll(/\b(?:from|import)\s*["']([\w@.:/-]+)["']/g)) {
    const found = specifier.startsWith('.')
      ? packagesOf(new URL(specifier, module), seen)
      : new Set([specifier.replace(/^((?:@[^/]+\/)?[^/]+).*$/, '$1')])
    for (const name of found) packages.add(name)
  }
  return packages
}

describe('the entry point of clients and instances', () => {
  it('loads no server, database, policy engine or certificate maker', () => {
    const packages = packagesOf(new URL('./index.js', import.meta.url))
    const outside = [...packages].filter(name => !name.startsWith('node:')).sort()
    expect(outside).toEqual([
      '@cloister/attestation',
      '@cloister/sealed',
      '@sinclair/typebox',
      'jose',
    ])
  })

  it('is told apart from the server’s', () => {
    const packages = packagesOf(new URL('./server/index.js', import.meta.url))
    expect([...packages]).toEqual(expect.arrayContaining(['fastify', 'kysely', '@peculiar/x509']))
  })
})
