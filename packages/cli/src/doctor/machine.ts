import { existsSync } from 'node:fs'
import { statfs } from 'node:fs/promises'
import { freemem } from 'node:os'
import { join } from 'node:path'
import {
  findBubblewrap,
  findGraminePal,
  IMAGE_INTEGRITY,
  limitsHere,
  strongestConfinement,
  systemCallFilterFault,
} from '@cloister/enclave'
import type { Finding } from './finding.ts'

/** What this machine can do. */
export async function machineFindings(): Promise<readonly Finding[]> {
  return [
    node(),
    await isolation(),
    await controlGroups(),
    systemCallFilter(),
    mkfifo(),
    packagers(),
    await memory(),
    sgx(),
    gramine(),
    ...occlum(),
  ]
}

function node(): Finding {
  return { what: 'Node', state: 'good', detail: process.version }
}

async function isolation(): Promise<Finding> {
  const what = 'isolation'
  const bubblewrap = findBubblewrap()
  if (bubblewrap === undefined) {
    return { what, state: 'weak', detail: 'no isolation: install bubblewrap' }
  }
  const confinement = await strongestConfinement(bubblewrap)
  if (confinement === 'none') {
    return { what, state: 'weak', detail: 'no isolation: bubblewrap cannot start here' }
  }
  return confinement === 'two-users'
    ? { what, state: 'good', detail: 'bubblewrap; program and init are different users' }
    : { what, state: 'weak', detail: 'bubblewrap; program and init are the same user' }
}

/** What holds a limit where no control group does. */
const WITHOUT_GROUP = {
  rlimit: 'each process has a limit by itself',
  none: 'nothing limits them',
} as const

/** What limits the instance as a whole. */
async function controlGroups(): Promise<Finding> {
  const what = 'control groups'
  const { memory, processes } = await limitsHere()
  const said = Object.entries({ memory, processes }).map(([of, limiter]) =>
    limiter === 'rlimit' || limiter === 'none'
      ? { isFound: false, text: `missing for ${of}: ${WITHOUT_GROUP[limiter]}` }
      : { isFound: true, text: `found for ${of} (${limiter.slice('cgroup-'.length)})` },
  )
  const state = said.every(({ isFound }) => isFound) ? 'good' : 'weak'
  return { what, state, detail: said.map(({ text }) => text).join('; ') }
}

function systemCallFilter(): Finding {
  const what = 'system call filter'
  const fault = systemCallFilterFault()
  return fault === undefined
    ? { what, state: 'good', detail: 'found: seccomp, for every process of an instance' }
    : { what, state: 'weak', detail: `missing: ${fault}` }
}

function mkfifo(): Finding {
  const path = '/usr/bin/mkfifo'
  return existsSync(path)
    ? { what: 'pipes', state: 'good', detail: path }
    : { what: 'pipes', state: 'missing', detail: `${path} (coreutils): queries over CSV need it` }
}

/** What `enclave lock` fetches and unpacks packages with. */
const PACKAGERS = ['apt-get', 'dpkg-deb', 'python3', 'npm', 'mvn'] as const

function packagers(): Finding {
  const what = 'packages'
  const folders = (process.env['PATH'] ?? '').split(':')
  const missing = PACKAGERS.filter(name => !folders.some(folder => existsSync(join(folder, name))))
  return missing.length === 0
    ? { what, state: 'good', detail: PACKAGERS.join(', ') }
    : { what, state: 'weak', detail: `enclave lock lacks ${missing.join(', ')}` }
}

async function memory(): Promise<Finding> {
  const shared = await statfs('/dev/shm').catch(() => undefined)
  const mebibytes = Math.round(freemem() / 2 ** 20)
  const free = shared === undefined ? 0 : Math.round((shared.bavail * shared.bsize) / 2 ** 20)
  const detail = `${mebibytes} MiB free, ${free} MiB of it for memory files`
  return { what: 'memory', state: mebibytes < 1024 ? 'weak' : 'good', detail }
}

function sgx(): Finding {
  return existsSync('/dev/sgx_enclave')
    ? { what: 'SGX', state: 'good', detail: 'there, for images that are made ready for Gramine' }
    : { what: 'SGX', state: 'weak', detail: 'not here: the TEE is simulated, it protects nothing' }
}

function gramine(): Finding {
  const what = 'Gramine'
  const libpal = findGraminePal()
  return libpal === undefined
    ? { what, state: 'weak', detail: 'not installed: images are not made ready for it here' }
    : { what, state: 'good', detail: libpal }
}

/** Where Occlum is installed, what no configuration of it mends. */
function occlum(): readonly Finding[] {
  if (!existsSync('/opt/occlum/build/bin/occlum')) return []
  return [{ what: 'Occlum', state: 'weak', detail: IMAGE_INTEGRITY.message }]
}
