import { INSTANCE_HOST, loopbackAddresses, type Network } from '../definition/network.ts'
import type { Store } from '../store/store.ts'
import { MERGED_LINKS } from './locked-root.ts'
import type { Origin } from './origin.ts'
import type { Plan } from './plan.ts'

const ORIGIN: Origin = { rule: 'substitute' }

// What base-passwd's scripts write, of the users that an instance has: init and the program.
const PASSWD =
  'root:x:0:0:root:/root:/usr/sbin/nologin\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n'
const GROUP = 'root:x:0:\nnogroup:x:65534:\n'
const NSSWITCH = 'passwd: files\ngroup: files\nshadow: files\nhosts: files dns\n'
// An instance's own name too: run-times ask for it when they start.
const HOSTS = `127.0.0.1\tlocalhost ${INSTANCE_HOST}\n::1\tlocalhost\n`

const FILES: Readonly<Record<string, string>> = {
  'etc/passwd': PASSWD,
  'etc/group': GROUP,
  'etc/nsswitch.conf': NSSWITCH,
  'etc/hosts': HOSTS,
}

/**
 * Puts the names of the hosts that an instance may connect to, with the addresses at which init
 * passes connections on, and the order to look there.
 * @throws ImageError CONFLICT where the definition brings a file of its own for them
 */
export function putHosts(plan: Plan, network: Network): void {
  const addresses = loopbackAddresses(network)
  if (addresses.size === 0) return
  const lines = [...addresses].map(([host, address]) => `${address}\t${host}\n`)
  const bytes = Buffer.from(HOSTS + lines.join(''))
  const origin = { rule: 'network' }
  plan.put('etc/hosts', { type: 'bytes', bytes, mode: 0o644, origin })
  if (plan.has('etc/nsswitch.conf')) return
  plan.put('etc/nsswitch.conf', {
    ...{ type: 'bytes', bytes: Buffer.from(NSSWITCH), mode: 0o644, origin },
  })
}

const CERTIFICATE = /^usr\/share\/ca-certificates\/.+\.crt$/
const BUNDLE = 'etc/ssl/certs/ca-certificates.crt'

/**
 * Puts what maintainer scripts would have made, and programs need: the links of a merged /usr,
 * users and groups, name service, the bundle of certificates. Each only where nothing else is
 * there; each the same on every machine.
 */
export async function putSubstitutes(plan: Plan, store: Store): Promise<void> {
  for (const name of MERGED_LINKS) {
    const isUsed = [...plan.result.keys()].some(path => path.startsWith(`usr/${name}/`))
    if (isUsed && !plan.has(name)) {
      plan.put(name, { type: 'link', target: `usr/${name}`, origin: ORIGIN })
    }
  }
  for (const [path, text] of Object.entries(FILES)) {
    if (plan.has(path)) continue
    plan.put(path, { type: 'bytes', bytes: Buffer.from(text), mode: 0o644, origin: ORIGIN })
  }
  await putCertificates(plan, store)
}

/** What update-ca-certificates(8) makes of all certificates of the package. */
async function putCertificates(plan: Plan, store: Store): Promise<void> {
  const paths = [...plan.result.keys()].filter(path => CERTIFICATE.test(path)).sort()
  if (paths.length === 0 || plan.has(BUNDLE)) return
  const pieces: Uint8Array[] = []
  for (const path of paths) {
    const planned = plan.get(path)
    if (planned?.type === 'stored') pieces.push(await store.read(planned.file.sha256))
  }
  const bytes = Buffer.concat(pieces)
  plan.put(BUNDLE, { type: 'bytes', bytes, mode: 0o644, origin: ORIGIN })
}
