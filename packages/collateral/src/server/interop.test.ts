import { execFile } from 'node:child_process'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { verifyCollateral } from '@cloister/attestation'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { getCollateralForFmspc } from '../dcap-qvl.test.support.ts'
import {
  fmspcOf,
  platformAt,
  type SimulatedPcs,
  startSimulatedPcs,
  svnHex,
} from '../simulated-pcs.test.support.ts'
import { type RunningPccs, startPccs } from './start-pccs.ts'

const run = promisify(execFile)
// OpenSSL judges by the machine's clock.
const AT = new Date(Date.now() - 60_000)
const platform = platformAt(AT)

/**
 * A client of the standard library alone. What it sends and looks at is as Intel's administration tool
 * does: https://github.com/intel/confidential-computing.tee.dcap.pccs, PccsAdminTool.
 */
const CLIENT = `
import json, ssl, sys, urllib.parse, urllib.request
base, ca, folder, user, admin, fmspc, pck = sys.argv[1:]
context = ssl.create_default_context(cafile=ca)
def ask(path, method='GET', headers={}, body=None):
    headers = {'user-agent': 'pccsadmin/0.1', 'Content-Type': 'application/json', **headers}
    data = None if body is None else body.encode()
    request = urllib.request.Request(base + path, data=data, method=method, headers=headers)
    return urllib.request.urlopen(request, context=context)
def save(name, data):
    open(folder + '/' + name, 'wb').write(data if isinstance(data, bytes) else data.encode())
def chain(response, name):
    certificates = urllib.parse.unquote(response.headers[name]).split('-----END CERTIFICATE-----\\n')
    return [one + '-----END CERTIFICATE-----\\n' for one in certificates if one.strip()]
row = json.loads(pck)
assert ask('/platforms', 'POST', {'user-token': user}, json.dumps(row)).status == 200
listed = ask('/platforms?source=[]', headers={'admin-token': admin})
assert listed.headers['platform-count'] == '1'
assert json.load(listed)[0]['qe_id'] == row['qe_id'].upper()
query = {k: row[v] for k, v in [('qeid', 'qe_id'), ('pceid', 'pce_id'), ('cpusvn', 'cpu_svn'), ('pcesvn', 'pce_svn')]}
found = ask('/pckcert?' + urllib.parse.urlencode(query))
assert found.headers['Content-Type'] == 'application/x-pem-file'
assert found.headers['Request-ID']
intermediate, root = chain(found, 'SGX-PCK-Certificate-Issuer-Chain')
save('pck.pem', found.read()); save('intermediate.pem', intermediate); save('root.pem', root)
tcb = ask('/tcb?fmspc=' + fmspc)
assert tcb.headers['Content-Type'] == 'application/json'
signer, _ = chain(tcb, 'TCB-Info-Issuer-Chain')
text = tcb.read().decode()
start, end = text.find('"tcbInfo":{') + len('"tcbInfo":'), text.find('},"signature":') + 1
raw = bytes.fromhex(json.loads(text)['signature'])
def integer(part):
    part = part.lstrip(b'\\0') or b'\\0'
    part = b'\\0' + part if part[0] & 0x80 else part
    return bytes([2, len(part)]) + part
both = integer(raw[:32]) + integer(raw[32:])
save('signer.pem', signer); save('tcbinfo.json', text[start:end]); save('tcbinfo.sig', bytes([0x30, len(both)]) + both)
save('pck.crl', ask('/pckcrl?ca=platform&encoding=der').read())
save('root.crl', bytes.fromhex(ask('/rootcacrl').read().decode()))
save('pck.crl.pem', ask('/pckcrl?ca=platform&encoding=pem').read())
assert ask('/refresh', 'POST', {'admin-token': admin}).status == 200
print(json.dumps({'tcbm': found.headers['SGX-TCBm'], 'fmspc': found.headers['SGX-FMSPC']}))
`

let folder: string
let upstream: SimulatedPcs
let pccs: RunningPccs

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'cloister-pccs-'))
  const [key, cert] = [join(folder, 'key.pem'), join(folder, 'cert.pem')]
  await run('openssl', [
    ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'],
    ...['-keyout', key, '-out', cert, '-days', '2', '-subj', '/CN=pccs'],
    ...['-addext', 'subjectAltName=IP:127.0.0.1'],
  ])
  upstream = await startSimulatedPcs({ platform, at: () => AT })
  pccs = await startPccs({
    ...{ dataDir: join(folder, 'data'), port: 0, mode: 'LAZY', upstreams: [upstream.pcs] },
    roots: [platform.trustRoot],
    tls: async () => ({ key: await readFile(key, 'utf8'), cert: await readFile(cert, 'utf8') }),
  })
})

afterAll(async () => {
  await pccs.close()
  upstream.close()
  await rm(folder, { recursive: true, force: true })
})

describe('other programs', () => {
  it('a client in Python registers, and gets what OpenSSL verifies', async () => {
    await writeFile(join(folder, 'client.py'), CLIENT)
    const token = async (name: string) =>
      (await readFile(join(folder, 'data', name), 'utf8')).trim()
    const row = {
      ...{ qe_id: 'c0'.repeat(16), pce_id: '0000', cpu_svn: '05'.repeat(16), pce_svn: '0d00' },
      ...{ enc_ppid: 'ab'.repeat(384), platform_manifest: '' },
    }
    const { stdout } = await run('python3', [
      ...[join(folder, 'client.py'), `${pccs.url}/sgx/certification/v4`, join(folder, 'cert.pem')],
      ...[folder, await token('user-token'), await token('admin-token')],
      ...[fmspcOf(platform).toUpperCase(), JSON.stringify(row)],
    ])
    expect(JSON.parse(stdout)).toEqual({
      tcbm: ('05'.repeat(16) + svnHex(13)).toUpperCase(),
      fmspc: fmspcOf(platform).toUpperCase(),
    })
    const at = (name: string) => join(folder, name)
    const openssl = async (...argv: readonly string[]) => {
      const { stdout: out, stderr } = await run('openssl', argv)
      return out + stderr
    }
    // Chain and lists together: the lists are by whom they must be, in date, and revoke none of it.
    await openssl('crl', '-inform', 'DER', '-in', at('root.crl'), '-out', at('root.crl.pem'))
    const verified = await openssl(
      ...['verify', '-crl_check_all', '-CAfile', at('root.pem')],
      ...['-CRLfile', at('root.crl.pem'), '-CRLfile', at('pck.crl.pem')],
      ...['-untrusted', at('intermediate.pem'), at('pck.pem')],
    )
    expect(verified).toContain('OK')
    const signer = ['verify', '-crl_check', '-CRLfile', at('root.crl.pem')]
    expect(await openssl(...signer, '-CAfile', at('root.pem'), at('signer.pem'))).toContain('OK')
    await openssl('x509', '-in', at('signer.pem'), '-pubkey', '-noout', '-out', at('signer.pub'))
    const signature = ['dgst', '-sha256', '-verify', at('signer.pub')]
    const ok = await openssl(...signature, '-signature', at('tcbinfo.sig'), at('tcbinfo.json'))
    expect(ok).toContain('Verified OK')
    const crl = ['crl', '-inform', 'DER', '-noout', '-CAfile', at('intermediate.pem')]
    expect(await openssl(...crl, '-in', at('pck.crl'))).toContain('verify OK')
  })

  it('@phala/dcap-qvl gets collateral that verifies', async () => {
    const plain = await startPccs({
      ...{ dataDir: join(folder, 'plain'), port: 0, mode: 'LAZY', upstreams: [upstream.pcs] },
      roots: [platform.trustRoot],
    })
    try {
      const fmspc = fmspcOf(platform).toUpperCase()
      const found = await getCollateralForFmspc(plain.url, fmspc, 'platform', true)
      const bytes = (list: readonly number[]) => Uint8Array.from(list)
      const collateral = {
        pckCrlIssuerChain: found.pck_crl_issuer_chain,
        rootCaCrl: bytes(found.root_ca_crl),
        pckCrl: bytes(found.pck_crl),
        tcbInfoIssuerChain: found.tcb_info_issuer_chain,
        tcbInfo: found.tcb_info,
        tcbInfoSignature: bytes(found.tcb_info_signature),
        qeIdentityIssuerChain: found.qe_identity_issuer_chain,
        qeIdentity: found.qe_identity,
        qeIdentitySignature: bytes(found.qe_identity_signature),
      }
      const at = new Date()
      const { of } = verifyCollateral({ collateral, roots: [platform.trustRoot], at })
      expect(of).toBe('SGX')
    } finally {
      await plain.close()
    }
  })
})
