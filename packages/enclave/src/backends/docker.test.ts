import { describe, expect, it } from 'vitest'
import { parse } from 'yaml'
import { composeFile, dockerfile } from './docker.ts'

const kinds = [
  { backend: 'gramine', name: 'reports' },
  { backend: 'occlum', name: 'reports', entryPoint: '/cloister-init.mjs' },
] as const

describe.each(kinds)('containers of $backend', what => {
  it('run as nobody, with the devices and AESM, and nothing that could hold a secret', () => {
    const { services } = parse(composeFile(what))
    const service = services.reports
    expect(service).toMatchObject({
      ...{ user: '65534:65534', read_only: true, cap_drop: ['ALL'] },
      security_opt: ['no-new-privileges:true'],
    })
    expect(service.devices.join()).toContain('/dev/sgx_enclave')
    expect(service.devices.join()).toContain('/dev/sgx_provision')
    expect(service.volumes).toEqual(['/var/run/aesmd/aesm.socket:/var/run/aesmd/aesm.socket'])
    expect(Object.keys(service)).not.toEqual(
      expect.arrayContaining([expect.stringMatching(/environment|env_file|secrets|privileged/)]),
    )
  })

  it('start the backend alone, with arguments that nobody adds to', () => {
    const text = dockerfile(what)
    expect(text).not.toMatch(/^(ENV|RUN|ADD|ARG (?!BASE=))/m)
    expect(text).toMatch(/^USER 65534:65534$/m)
    const command = what.backend === 'gramine' ? '["gramine-sgx","reports"]' : '["occlum","run",'
    expect(text).toContain(`ENTRYPOINT ${command}`)
    expect(text).not.toMatch(/\.pem|\bkey\b/)
  })
})
