import { execFileSync } from 'node:child_process'
import { generateKeyPairSync, randomBytes, X509Certificate } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { ImageError } from '../image/errors.ts'
import type { Artefact } from '../lock/format.ts'
import { judgeSecrets, type Suspect } from './judge.ts'
import { SecretScan } from './scan.ts'

let home: string
beforeAll(() => {
  home = mkdtempSync(join(tmpdir(), 'cloister-secrets-'))
})
afterAll(() => rmSync(home, { recursive: true, force: true }))

function found(path: string, content: string | Uint8Array, step = 1 << 20): readonly string[] {
  const scan = new SecretScan(path)
  const bytes = Buffer.from(content)
  for (let at = 0; at < bytes.length; at += step) scan.update(bytes.subarray(at, at + step))
  return scan.finish().map(({ rule, line }) => `${rule}${line === undefined ? '' : `:${line}`}`)
}

/** Random letters and digits, so that no real token stands in this file. */
const letters = (count: number) =>
  randomBytes(count * 4)
    .toString('base64')
    .replaceAll(/[^A-Za-z0-9]/g, '')
    .slice(0, count)

const ec = () => generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey
const pem = () => ec().export({ format: 'pem', type: 'pkcs8' }).toString()

function jwt(payload: object): string {
  const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url')
  return `${part({ alg: 'RS256', kid: 'k'.repeat(20) })}.${part(payload)}.${randomBytes(256).toString('base64url')}`
}

const serviceAccount = () =>
  jwt({ iss: 'kubernetes/serviceaccount', sub: 'system:serviceaccount:default:default' })

describe('SecretScan finds', () => {
  const cases: readonly (readonly [string, string, () => string | Uint8Array, string])[] = [
    ['a private key in PEM', 'app/conf/server.key', pem, 'private-key:1'],
    ['one behind text', 'app/x.txt', () => `a\nb\n${pem()}`, 'private-key:3'],
    [
      'one of SEC 1',
      'app/k',
      () => ec().export({ format: 'pem', type: 'sec1' }).toString(),
      'private-key:1',
    ],
    [
      'an encrypted one',
      'app/k',
      () =>
        ec()
          .export({ format: 'pem', type: 'pkcs8', cipher: 'aes-256-cbc', passphrase: 'x' })
          .toString(),
      'private-key:1',
    ],
    [
      'one of a cloud account, in JSON',
      'app/account.json',
      () => JSON.stringify({ type: 'service_account', private_key: pem() }),
      'private-key:1',
    ],
    [
      'one in DER',
      'app/k.der',
      () => ec().export({ format: 'der', type: 'pkcs8' }),
      'pkcs8-private-key',
    ],
    [
      'a service-account token',
      'app/token.txt',
      serviceAccount,
      'kubernetes-service-account-token:1',
    ],
    [
      'one where Kubernetes mounts it',
      'var/run/secrets/kubernetes.io/serviceaccount/token',
      () => 'opaque',
      'kubernetes-service-account-token',
    ],
    [
      'a kubeconfig',
      'app/config',
      () => `apiVersion: v1\nkind: Config\nusers:\n- name: a\n  user:\n    token: ${letters(20)}\n`,
      'kubeconfig',
    ],
    ['a .env file', 'app/.env', () => 'PASSWORD=x\n', 'dotenv'],
    ['a .env file of a stage', 'app/.env.production', () => 'export A=1\n', 'dotenv'],
    ['a .netrc', 'root/.netrc', () => 'machine x login y password z\n', 'netrc'],
    ['a .npmrc', 'app/.npmrc', () => '//r.example.org/:_authToken=abc\n', 'npmrc'],
    ['a .pypirc', 'root/.pypirc', () => '[pypi]\npassword = abc\n', 'pypirc'],
    [
      'git credentials',
      'root/.git-credentials',
      () => 'https://me:abc@h.example.org\n',
      'git-credentials',
    ],
    [
      'registry credentials',
      'root/.docker/config.json',
      () => '{"auths":{"r.example.org":{"auth":"bWU6YWJj"}}}',
      'docker-credentials',
    ],
    [
      'an AWS key',
      'root/.aws/credentials',
      () => `[default]\naws_secret_access_key = ${letters(40)}\n`,
      'aws-secret-key:2',
    ],
    [
      'an Azure key',
      'app/x',
      () => `AccountName=a;AccountKey=${letters(86)}==;`,
      'azure-storage-key:1',
    ],
    ['an Alibaba key', 'app/x', () => `accessKeySecret: "${letters(30)}"`, 'alibaba-secret-key:1'],
    ['a GitHub token', 'app/x', () => `ghp_${letters(36)}`, 'github-token:1'],
    ['a GitLab token', 'app/x', () => `glpat-${letters(20)}`, 'gitlab-token:1'],
    ['an npm token', 'app/x', () => `npm_${letters(36)}`, 'npm-token:1'],
    ['a PyPI token', 'app/x', () => `pypi-AgE${letters(80)}`, 'pypi-token:1'],
  ]
  for (const [what, path, content, rule] of cases) {
    it(what, () => {
      const text = content()
      expect(found(path, text)).toEqual([rule])
      expect(found(path, text, 7)).toEqual([rule])
    })
  }

  it('keys that other programs made: OpenSSH, PKCS #12, a Java keystore', () => {
    const key = join(home, 'id')
    execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', key])
    expect(found('app/id', readFileSync(key))).toEqual(['private-key:1'])
    const [pfx, jks] = [join(home, 'x.p12'), join(home, 'x.jks')]
    const subject = ['-subj', '/CN=x', '-days', '1', '-keyout', `${key}.pem`, '-out', `${key}.crt`]
    execFileSync('openssl', ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', ...subject], {
      stdio: 'ignore',
    })
    execFileSync('openssl', [
      'pkcs12',
      '-export',
      '-inkey',
      `${key}.pem`,
      '-in',
      `${key}.crt`,
      '-out',
      pfx,
      '-passout',
      'pass:x',
    ])
    expect(found('app/x.p12', readFileSync(pfx))).toEqual(['pkcs12'])
    const store = ['-storetype', 'JKS', '-keystore', jks, '-storepass', 'changeit']
    const dname = ['-dname', 'CN=x', '-alias', 'a', '-keyalg', 'EC', '-keypass', 'changeit']
    execFileSync('keytool', ['-genkeypair', ...dname, ...store], { stdio: 'ignore' })
    expect(found('app/x.jks', readFileSync(jks))).toEqual(['java-keystore'])
    const trust = ['-storetype', 'JKS', '-keystore', `${jks}.trust`, '-storepass', 'changeit']
    execFileSync(
      'keytool',
      ['-importcert', '-noprompt', '-alias', 'c', '-file', `${key}.crt`, ...trust],
      { stdio: 'ignore' },
    )
    expect(found('app/cacerts', readFileSync(`${jks}.trust`))).toEqual([])
  })

  it('one that stands anywhere in a large file, however the file comes', () => {
    const secret = Buffer.from(pem())
    fc.assert(
      fc.property(fc.nat(40_000), fc.integer({ min: 100, max: 30_000 }), (at, step) => {
        const bytes = Buffer.alloc(50_000, 'x')
        bytes.set(secret, at)
        expect(found('app/large', bytes, step)).toEqual(['private-key:1'])
      }),
      { numRuns: 200 },
    )
  })
})

describe('SecretScan finds nothing in', () => {
  const cases: readonly (readonly [string, string, string | Uint8Array])[] = [
    [
      'a program that looks for keys',
      'app/a.py',
      'if "-----BEGIN PRIVATE KEY-----" in text:\n  pass\n',
    ],
    [
      'a public key',
      'app/k.pem',
      generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey.export({
        format: 'pem',
        type: 'spki',
      }),
    ],
    ['an example of a .env file', 'app/.env.example', 'PASSWORD=\nTOKEN=put-yours-here\n'],
    ['an empty .env file', 'app/.env', '# nothing\n'],
    ['an .npmrc that reads the environment', 'app/.npmrc', `//r/:_authToken=\${NPM_TOKEN}\n`],
    ['a kubeconfig without credentials', 'app/c', 'kind: Config\nusers:\n- name: a\n'],
    [
      'another JSON Web Token',
      'app/t',
      jwt({ iss: 'https://id.example.org', sub: 'somebody in particular' }),
    ],
    [
      'an example key of a vendor',
      'app/x',
      'aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY',
    ],
    ['a placeholder', 'app/x', `ghp_${'x'.repeat(36)}`],
    ['random bytes', 'app/x', randomBytes(2_000_000)],
  ]
  for (const [what, path, content] of cases) {
    it(what, () => expect(found(path, content)).toEqual([]))
  }

  it('certificates, and what is not there at all', () => {
    const key = join(home, 'cert')
    const args = ['-subj', '/CN=x', '-keyout', `${key}.pem`, '-out', `${key}.crt`]
    execFileSync('openssl', ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', ...args], {
      stdio: 'ignore',
    })
    const certificate = readFileSync(`${key}.crt`)
    expect(found('app/x.crt', certificate)).toEqual([])
    expect(found('app/x.der', new X509Certificate(certificate).raw)).toEqual([])
    expect(found('app/.env', '')).toEqual([])
  })
})

describe('judgeSecrets', () => {
  const sha256 = 'ab'.repeat(32)
  const artefact = { kind: 'deb', name: 'libx', version: '1' } as unknown as Artefact
  const suspect = (rule: string, from?: Artefact): Suspect => ({
    ...{ path: 'app/x', sha256, findings: [{ rule, line: 3 }], artefact: from },
  })
  const codeOf = (act: () => unknown) => {
    try {
      act()
    } catch (error) {
      if (error instanceof ImageError) return error
      throw error
    }
    return undefined
  }

  it('stops, and says file and rule and never the secret', () => {
    const error = codeOf(() => judgeSecrets([suspect('dotenv')], []))
    expect(error?.code).toBe('SECRET')
    expect(error?.message).toContain('/app/x:3 (dotenv')
  })

  it('lets stay what the definition names, by path and content, and says so', () => {
    const allowed = { path: '/app/x', sha256, because: 'a test key' }
    expect(judgeSecrets([suspect('private-key')], [allowed])).toEqual([
      { path: '/app/x', rule: 'private-key', reason: 'allowed: a test key' },
    ])
    const others = [
      { ...allowed, sha256: 'cd'.repeat(32) },
      { ...allowed, path: '/app/y' },
    ]
    for (const other of others) {
      expect(codeOf(() => judgeSecrets([suspect('private-key')], [other]))?.code).toBe('SECRET')
    }
  })

  it('refuses an allowance of what is not there', () => {
    const allowed = { path: '/app/x', sha256, because: 'it was once' }
    expect(codeOf(() => judgeSecrets([], [allowed]))?.code).toBe('SOURCE')
  })

  it('tells of keys in public packages, and stops at tokens in them', () => {
    const [notice] = judgeSecrets([suspect('private-key', artefact)], [])
    expect(notice?.reason).toMatch(/^public: .*libx 1/)
    expect(codeOf(() => judgeSecrets([suspect('npm-token', artefact)], []))?.code).toBe('SECRET')
  })
})
