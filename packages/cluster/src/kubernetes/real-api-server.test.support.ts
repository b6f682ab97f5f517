import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { generateKeyPairSync } from 'node:crypto'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { get } from 'node:https'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { freePort } from '../free-port.test.support.ts'
import { KUBECTL, TOOLS } from '../repository.test.support.ts'
import { certificate, kubeconfigText, type TestCluster } from './api-server.test.support.ts'
import type { Asked } from './writable-api-server.test.support.ts'

const API_SERVER = join(TOOLS, 'kube-apiserver/kube-apiserver')
const ETCD = '/usr/bin/etcd'

/** Why tests against Kubernetes' own API server do not run; empty where they do. */
export const WHY_NOT_REAL =
  process.env['SLOW'] !== '1'
    ? ' (under SLOW=1)'
    : existsSync(API_SERVER) && existsSync(ETCD)
      ? ''
      : ' (packages/cluster/test/kube-apiserver/build was not run, or etcd is not there)'

const TOKEN = 'administrator-of-a-test'
const USER_TOKEN = 'user-of-a-test'

/** What kubectl said, and whether it was done. */
export interface Kubectl {
  readonly done: boolean
  readonly printed: string
  /** On standard error. */
  readonly said: string
}

/** A cluster of which a user without any right has a kubeconfig too. */
export interface RealCluster extends TestCluster {
  /** Of the user `user`. */
  readonly userKubeconfig: string
  /** As an administrator. */
  kubectl(argv: readonly string[], input?: string): Kubectl
  /** What the user `user` has asked about a namespace, as the server's audit log has it. */
  asked(namespace: string): Promise<readonly Asked[]>
}

/** Of the user's questions, once each, as they come. */
const AUDIT = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [ResponseStarted, ResponseComplete, Panic]
rules: [{ level: Metadata, users: [user] }]
`

/**
 * Starts Kubernetes' own API server over an etcd. No kubelet, scheduler or controller runs: what is
 * put there stays as it is.
 */
export async function realApiServer(): Promise<RealCluster> {
  const folder = await mkdtemp(join(tmpdir(), 'cloister-kubernetes-'))
  const [client, peer, secure] = [await freePort(), await freePort(), await freePort()]
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
  const accounts = join(folder, 'accounts.pem')
  await writeFile(accounts, privateKey.export({ type: 'pkcs8', format: 'pem' }), { mode: 0o600 })
  const tokens = join(folder, 'tokens.csv')
  await writeFile(tokens, `${TOKEN},admin,admin,system:masters\n${USER_TOKEN},user,user\n`)
  const [policy, audit] = [join(folder, 'audit.yaml'), join(folder, 'audit.log')]
  await writeFile(policy, AUDIT)
  certificate(folder)
  const [store, between] = [`http://127.0.0.1:${client}`, `http://127.0.0.1:${peer}`]
  const etcd = started(ETCD, [
    ...['--data-dir', join(folder, 'etcd'), '--unsafe-no-fsync'],
    ...['--listen-client-urls', store, '--advertise-client-urls', store],
    ...['--listen-peer-urls', between, '--initial-advertise-peer-urls', between],
    ...['--initial-cluster', `default=${between}`],
  ])
  const api = started(API_SERVER, [
    ...[`--etcd-servers=${store}`, '--bind-address=127.0.0.1', `--secure-port=${secure}`],
    ...[`--tls-cert-file=${folder}/tls.crt`, `--tls-private-key-file=${folder}/tls.key`],
    ...['--service-account-issuer=https://localhost', `--service-account-key-file=${accounts}`],
    ...[`--service-account-signing-key-file=${accounts}`, `--token-auth-file=${tokens}`],
    ...['--authorization-mode=RBAC', '--service-cluster-ip-range=10.96.0.0/16'],
    ...[`--audit-policy-file=${policy}`, `--audit-log-path=${audit}`],
    // By it a watch without a version, as Spark's, wants more of etcd than Debian 12's has.
    '--feature-gates=WatchList=false',
    // As in some vendors' clusters: who names an owner needs rights to it, unless it may go at once.
    '--enable-admission-plugins=OwnerReferencesPermissionEnforcement',
    // Which wants a controller.
    '--disable-admission-plugins=ServiceAccount',
  ])
  const url = `https://localhost:${secure}`
  const stop = async () => {
    for (const one of [api, etcd]) await ended(one)
    await rm(folder, { recursive: true, force: true })
  }
  try {
    await untilReady(`${url}/readyz`, await readFile(join(folder, 'tls.crt')), api)
  } catch (error) {
    await stop()
    throw error
  }
  const kubeconfig = join(folder, 'kubeconfig')
  const trust = { 'certificate-authority': join(folder, 'tls.crt') }
  await writeFile(kubeconfig, kubeconfigText(url, trust, TOKEN))
  const userKubeconfig = join(folder, 'user-kubeconfig')
  await writeFile(userKubeconfig, kubeconfigText(url, trust, USER_TOKEN))
  return {
    ...{ kubeconfig, userKubeconfig, stop },
    kubectl(argv, input = '') {
      const all = ['--kubeconfig', kubeconfig, '--cache-dir', join(folder, 'cache'), ...argv]
      const options = { encoding: 'utf8', input, maxBuffer: 1 << 26 } as const
      const { status, stderr, stdout } = spawnSync(KUBECTL, all, options)
      return { done: status === 0, printed: stdout, said: stderr }
    },
    asked: async namespace => askedIn(await readFile(audit, 'utf8'), namespace),
  }
}

/** @see https://kubernetes.io/docs/reference/config-api/apiserver-audit.v1/ */
function askedIn(audit: string, wanted: string): readonly Asked[] {
  // The last line may be on its way.
  const lines = audit.split('\n').slice(0, -1)
  return lines.flatMap(line => {
    const { objectRef = {}, verb } = JSON.parse(line)
    const { apiGroup: group = '', namespace, resource, subresource } = objectRef
    if (namespace !== wanted) return []
    return [{ verb, group, resource: subresource ? `${resource}/${subresource}` : resource }]
  })
}

function started(program: string, argv: readonly string[]): ChildProcess {
  // It ends when this process does, however that comes.
  return spawn('setpriv', ['--pdeathsig', 'KILL', program, ...argv], { stdio: 'ignore' })
}

async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const gone = once(child, 'exit')
  child.kill('SIGKILL')
  await gone
}

async function untilReady(url: string, ca: Buffer, api: ChildProcess): Promise<void> {
  for (let tries = 0; tries < 120; tries++) {
    if (api.exitCode !== null) throw new Error(`the API server ended with ${api.exitCode}`)
    const status = await new Promise<number | undefined>(resolve => {
      get(url, { ca, headers: { authorization: `Bearer ${TOKEN}` } }, response => {
        response.resume()
        resolve(response.statusCode)
      }).once('error', () => resolve(undefined))
    })
    if (status === 200) return
    await new Promise(resolve => setTimeout(resolve, 500))
  }
  throw new Error('the API server is not ready after a minute')
}
