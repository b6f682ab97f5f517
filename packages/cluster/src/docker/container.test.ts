import { describe, expect, it } from 'vitest'
import { type ContainerPlan, containerArguments } from './container.ts'
import type { Engine } from './engine.ts'

const DOCKER: Engine = { command: 'docker', kind: 'docker', isRootless: false }
const PODMAN: Engine = { command: 'podman', kind: 'podman', isRootless: false }

const PLAN: ContainerPlan = {
  ...{ name: 'cloister-0011', image: 'ab'.repeat(32), labels: { owner: 'me' } },
  user: { uid: 10001, gid: 10001 },
  mounts: [
    { source: '/data/people', target: '/cloister/in/people', isWritable: false },
    { source: '/data/a,"b"', target: '/cloister/out/model', isWritable: true },
  ],
  ...{ network: 'none', inside: 'sandbox', profile: '/run/seccomp.json', memoryMiB: 768 },
  ...{ processes: 300, hasInput: false, devices: [], groups: [], argv: ['contained', '/x'] },
}

/** The values of an option. */
const all = (argv: readonly string[], option: string) =>
  argv.flatMap((word, at) => (argv[at - 1] === option ? [word] : []))

describe.each([DOCKER, PODMAN])('a container of $kind', engine => {
  const argv = containerArguments(engine, PLAN)

  it('has no right, no network, nothing to write to but results, and is gone afterwards', () => {
    expect(argv.slice(0, 2)).toEqual(['run', '--rm'])
    expect(argv).toEqual(expect.arrayContaining(['--read-only', 'no-new-privileges']))
    expect(all(argv, '--cap-drop')).toEqual(['ALL'])
    expect(all(argv, '--network')).toEqual(['none'])
    expect(all(argv, '--user')).toEqual(['10001:10001'])
    expect(all(argv, '--pull')).toEqual(['never'])
    expect(all(argv, '--log-driver')).toEqual(['none'])
    expect(all(argv, '--memory')).toEqual(['768m'])
    expect(all(argv, '--pids-limit')).toEqual(['300'])
    expect(argv.join(' ')).not.toMatch(/privileged|cap-add|--pid[ =]|--ipc|--device|docker\.sock/)
    expect(argv.slice(-3)).toEqual([PLAN.image, 'contained', '/x'])
  })

  it('mounts what paths say, whatever is in them', () => {
    expect(all(argv, '--mount')).toEqual([
      'type=bind,source=/data/people,target=/cloister/in/people,readonly',
      'type=bind,"source=/data/a,""b""",target=/cloister/out/model',
    ])
  })

  it('has nothing in its environment, not even what the engine would put there', () => {
    for (const value of all(argv, '--env')) expect(value).toMatch(/^[A-Za-z]+_(proxy|PROXY)=$/)
    const proxies = engine.kind === 'podman' ? [] : ['http_proxy=', 'HTTPS_PROXY=', 'no_proxy=']
    expect(all(argv, '--env')).toEqual(expect.arrayContaining(proxies))
    expect(argv.includes('--http-proxy=false')).toBe(engine.kind === 'podman')
  })

  it('allows a sandbox in it, and only where there is to be one', () => {
    const options = (inside: ContainerPlan['inside']) =>
      all(containerArguments(engine, { ...PLAN, inside }), '--security-opt')
    expect(options('sandbox')).toEqual([
      ...['no-new-privileges', 'seccomp=/run/seccomp.json', 'apparmor=unconfined'],
      engine.kind === 'docker' ? 'systempaths=unconfined' : 'unmask=ALL',
    ])
    expect(options('plain')).toEqual(['no-new-privileges'])
    expect(options('sgx')).toEqual(['no-new-privileges'])
  })

  it('has the devices of SGX where an image is for it', () => {
    const argv = containerArguments(engine, {
      ...{ ...PLAN, inside: 'sgx', devices: ['/dev/sgx_enclave', '/dev/sgx_provision'] },
      ...{ groups: [107], memoryMiB: undefined, hasInput: true, network: undefined },
    })
    expect(all(argv, '--device')).toEqual(['/dev/sgx_enclave', '/dev/sgx_provision'])
    expect(all(argv, '--group-add')).toEqual(['107'])
    for (const absent of ['--memory', '--network']) expect(argv).not.toContain(absent)
    expect(argv).toContain('--interactive')
  })
})

describe('the user of a container', () => {
  const user = (engine: Engine) => {
    const argv = containerArguments({ ...engine, isRootless: true }, PLAN)
    return [all(argv, '--userns'), all(argv, '--user')]
  }

  it('is who starts it, where the engine is that one’s own', () => {
    expect(user(PODMAN)).toEqual([['keep-id'], ['10001:10001']])
    expect(user(DOCKER)).toEqual([[], ['0:0']])
  })
})
