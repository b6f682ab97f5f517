import { execFile, spawn, spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, rm, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import {
  certificatesInQuote,
  collateralJson,
  createSimPlatform,
  createSimSnpPlatform,
  encodeEventLog,
  encodeQuote,
  encodeSnpCertificateTable,
  exportSimPlatform,
  parseQuote,
  replayEventLog,
} from '@cloister/attestation'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { cloisterAt, MAIN } from '../cloister.test.support.ts'
import { EXIT } from '../output/exit-codes.ts'

const VECTORS = `${
  process.env['CLOISTER_VECTORS'] ??
  fileURLToPath(new URL('../../../../../shared/vectors', import.meta.url))
}/attestation`
const HAS_VECTORS = existsSync(VECTORS)
const SKIPPED = HAS_VECTORS ? '' : ` (SKIPPED: no folder ${VECTORS}; set CLOISTER_VECTORS)`

/** Plays Occlum's device to a process that is run on its C library, and needs a compiler for that. */
const OCCLUM = fileURLToPath(
  new URL('../../../attester/dist/quote-source/occlum-stand-in.test.support.js', import.meta.url),
)
const CAN_STAND_IN = ['cc', 'bwrap'].every(tool => spawnSync(tool, ['--version']).status === 0)

const AT = new Date('2026-03-01T00:00:00Z')
const MR_ENCLAVE = 'e1'.repeat(32)
const platform = createSimPlatform({ createdAt: AT, tcbStatus: 'SWHardeningNeeded' })
const quote = platform.quote({
  mrEnclave: Buffer.from(MR_ENCLAVE, 'hex'),
  mrSigner: new Uint8Array(32).fill(0x51),
  ...{ isvProdId: 7, isvSvn: 3, debug: false },
  reportData: new Uint8Array(64),
})
const collateral = platform.collateral(AT)
const milan = createSimSnpPlatform({ createdAt: AT })

let folder: string

/** Runs the command in a folder of the test's own. */
const cloister = (...argv: readonly string[]) => cloisterAt({ home: 'home', cwd: folder }, ...argv)

/** A certificate that OpenSSL makes, with an extension of any content. */
async function certificateWith(oid: string, value: Uint8Array): Promise<string> {
  const config = join(folder, 'openssl.cnf')
  const hex = Buffer.from(value).toString('hex')
  const parts = ['[req]', 'distinguished_name=name', '[name]', '[ext]', `${oid}=DER:${hex}`, '']
  await writeFile(config, parts.join('\n'))
  const options = ['-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes']
  const argv = ['req', ...options, '-keyout', join(folder, 'key.pem'), '-subj', '/CN=made']
  const { stdout } = await promisify(execFile)('openssl', [
    ...argv,
    ...['-config', config, '-extensions', 'ext'],
  ])
  return stdout
}

/** A quote as Open Enclave has it in certificates, with claims after it. */
function openEnclaveEvidence(): Uint8Array {
  const claims = Buffer.from('a key\0')
  const header = Buffer.alloc(32)
  header.set(Buffer.from('03000000a3a21e871b4d4014b70aa125d2fbcd8c', 'hex'))
  header.writeBigUInt64LE(BigInt(quote.length + claims.length), 24)
  return Buffer.concat([header, quote, claims])
}

const ofQuote = (...argv: readonly string[]) =>
  cloister(
    ...['attest', ...argv, '--collateral', 'collateral.json', '--at', '2026-03-02'],
    '--allow-simulated-platform',
  )

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'cloister-attest-'))
  const put = (name: string, content: string | Uint8Array) =>
    writeFile(join(folder, name), content, { mode: 0o600 })
  await mkdir(join(folder, 'home'))
  await mkdir(join(folder, 'snp'))
  await put('home/sim-platform.json', exportSimPlatform(platform))
  await put('quote.bin', quote)
  await put('quote.hex', `${Buffer.from(quote).toString('hex').replace(/.{64}/g, '$&\n')}\n`)
  await put('quote.b64', Buffer.from(quote).toString('base64'))
  const flipped = quote.slice()
  flipped[112] = (flipped[112] ?? 0) ^ 1
  await put('flipped.bin', flipped)
  await put('collateral.json', JSON.stringify(collateralJson(collateral)))
  await put('pck.der', certificatesInQuote(parseQuote(quote))[0] ?? '')
  await put('chain.pem', collateral.pckCrlIssuerChain)
  await put('crl.der', collateral.pckCrl)
  const pemOf = (crl: Uint8Array) => {
    const lines = Buffer.from(crl).toString('base64').replace(/.{64}/g, '$&\n')
    return `-----BEGIN X509 CRL-----\n${lines}\n-----END X509 CRL-----\n`
  }
  await put('crl.pem', pemOf(collateral.pckCrl))
  const lists = { root_ca_crl: pemOf(collateral.rootCaCrl), pck_crl: pemOf(collateral.pckCrl) }
  await put('pem-lists.json', JSON.stringify({ ...collateralJson(collateral), ...lists }))
  const oddChain = { type: 5, data: certificatesInQuote(parseQuote(quote))[0] ?? quote } as const
  await put('odd-chain.bin', encodeQuote({ ...parseQuote(quote), certificationData: oddChain }))
  await put('tcb.json', `{"tcbInfo":${collateral.tcbInfo},"signature":""}`)
  await put('identity.json', `{"enclaveIdentity":${collateral.qeIdentity},"signature":""}`)
  const snp = milan.collateral(AT)
  await put('report.bin', milan.report({ platformInfo: 1n << 5n }))
  await put('snp/vek.der', snp.vek)
  await put('snp/chain.pem', String(snp.chain))
  await put('snp/crl.der', snp.crl)
  const [, ark = ''] = String(snp.chain).split(/(?<=-----END CERTIFICATE-----\n)/)
  await put('ark.pem', ark)
  const workload = `enclaves:\n  - mrEnclave: ${MR_ENCLAVE}\n`
  const statuses = 'platform:\n  tcbStatuses: [UpToDate, SWHardeningNeeded]\n'
  await put('policy.yaml', `version: 1\ntees: [sim]\n${statuses}${workload}`)
  await put('strict.yaml', 'version: 1\ntees: [sgx]\nplatform:\n  tcbStatuses: [UpToDate]\n')
  await put('broken.yaml', 'version: 1\ntees: [sgx]\nplatform:\n  tcbStatuses: [Fine]\n')
  await put('twice.yaml', 'version: 1\ntees: [sgx]\ntees: [sim]\n')
  await put('garbage', 'no quote at all!')
  await put('inner-tcb.json', collateral.tcbInfo)
  await put('inner-identity.json', collateral.qeIdentity)
  await put('packed.json', JSON.stringify({ tcb_info_json: collateral.tcbInfo, size: 1 }))
  await put('header.txt', encodeURIComponent(String(collateral.pckCrlIssuerChain)))
  await put('dumped.pem', `subject=CN\n${String(collateral.pckCrlIssuerChain)}issuer=CN\n`)
  await put('table.bin', encodeSnpCertificateTable({ vcek: snp.vek }))
  const product = Buffer.from(snp.vek).lastIndexOf('Milan')
  const otherVek = Buffer.from(snp.vek)
  otherVek.write('Naxos', product)
  await put('other-vek.der', otherVek)
  await put('cut.bin', quote.subarray(0, 500))
  await put(
    'open-enclave.pem',
    await certificateWith('1.3.6.1.4.1.311.105.2', openEnclaveEvidence()),
  )
  await promisify(execFile)('mkfifo', [join(folder, 'pipe')])
  await put('zeros', '')
  await truncate(join(folder, 'zeros'), 64 << 20)
})

afterAll(() => rm(folder, { recursive: true, force: true }))

describe('cloister attest verify', () => {
  it('verifies, and says that nothing was appraised', async () => {
    for (const file of ['quote.bin', 'quote.hex', 'quote.b64']) {
      const { code, stdout, stderr } = await ofQuote('verify', file)
      expect([code, stderr]).toEqual([0, ''])
      expect(stdout).toContain('SIMULATED: nothing is hidden from its host')
      expect(stdout).toMatch(/TCB status +SWHardeningNeeded/)
      expect(stdout).toContain(MR_ENCLAVE)
      expect(stdout).toContain('NOT APPRAISED')
      expect(stdout).toMatch(/what fixes it +the enclave’s software has to mitigate/)
      expect(stdout).toMatch(/debug +no/)
    }
  })

  it('takes revocation lists in PEM', async () => {
    const files = ['attest', 'verify', 'quote.bin', '--collateral', 'pem-lists.json']
    const at = ['--at', '2026-03-02', '--allow-simulated-platform']
    expect((await cloister(...files, ...at)).code).toBe(0)
  })

  it('trusts or rejects by a policy, with the change that would pass', async () => {
    const good = await ofQuote('verify', 'quote.bin', '--policy', 'policy.yaml', '--json')
    expect(good.code).toBe(0)
    const { verdict, claims } = JSON.parse(good.stdout)
    expect([verdict, claims.tcbStatus]).toEqual(['trusted', 'SWHardeningNeeded'])
    expect(claims.report.mrEnclave).toBe(MR_ENCLAVE)
    for (const verb of ['verify', 'explain']) {
      const bad = await ofQuote(verb, 'quote.bin', '--policy', 'strict.yaml')
      expect(bad.code).toBe(EXIT.refused)
      expect(bad.stdout).toContain('rejected for 3 reasons')
      expect(bad.stdout).toContain('add sim to `tees`')
      expect(bad.stdout).toContain(`mrEnclave: ${MR_ENCLAVE}`)
    }
    const json = await ofQuote('explain', 'quote.bin', '--policy', 'strict.yaml', '--json')
    const codes = JSON.parse(json.stdout).reasons.map((reason: { code: string }) => reason.code)
    expect(codes).toEqual(['TEE', 'MEASUREMENT', 'TCB_STATUS'])
  })

  it('refuses what is altered, expired, or under a root that is not pinned', async () => {
    const altered = await ofQuote('verify', 'flipped.bin')
    expect([altered.code, altered.stdout]).toEqual([EXIT.notAuthentic, ''])
    expect(altered.stderr).toContain('QUOTE_SIGNATURE')
    const files = ['attest', 'verify', 'quote.bin', '--collateral', 'collateral.json']
    const unpinned = await cloister(...files, '--at', '2026-03-02')
    expect([unpinned.code, unpinned.stderr.includes('QE_VENDOR')]).toEqual([4, true])
    const late = await cloister(...files, '--at', '2026-06-01', '--allow-simulated-platform')
    expect([late.code, late.stderr.includes('EXPIRED')]).toEqual([4, true])
  })

  it('verifies a SEV-SNP report under a root that is given, and wants its revocation list', async () => {
    const files = ['attest', 'verify', 'report.bin', '--collateral', 'snp', '--at', '2026-03-02']
    const unpinned = await cloister(...files)
    expect([unpinned.code, unpinned.stderr.includes('UNTRUSTED_ROOT')]).toEqual([4, true])
    const good = await cloister(...files, '--trust-root', 'ark.pem')
    expect([good.code, good.stdout.includes('Milan')]).toEqual([0, true])
    await rm(join(folder, 'snp', 'crl.der'))
    const without = await cloister(...files, '--trust-root', 'ark.pem')
    expect(without.code).toBe(EXIT.usage)
    expect(without.stderr).toContain('--allow-unchecked-revocation')
    const unchecked = ['--trust-root', 'ark.pem', '--allow-unchecked-revocation']
    const loud = await cloister(...files, ...unchecked)
    expect([loud.code, loud.stdout.includes('NOT CHECKED')]).toEqual([0, true])
  })

  it('compares a TDX event log with the registers', async () => {
    const data = new Uint8Array(Buffer.from('firmware'))
    const digest = createHash('sha384').update(data).digest()
    const event = { register: 1, type: 1, digests: [{ algorithm: 0x000c, digest }], data }
    const log = { algorithms: [0x000c], events: [event] }
    const [rtmr0 = data] = replayEventLog(log)
    const zero = new Uint8Array(48)
    const put = (name: string, bytes: Uint8Array | string) => writeFile(join(folder, name), bytes)
    await put('td.bin', platform.quoteTd({ rtmrs: [rtmr0, zero, zero, zero] }))
    await put('td.json', JSON.stringify(collateralJson(platform.tdxCollateral(AT))))
    await put('ccel.bin', encodeEventLog(log))
    await put('none.bin', encodeEventLog({ ...log, events: [] }))
    const files = ['attest', 'verify', 'td.bin', '--collateral', 'td.json', '--at', '2026-03-02']
    const td = [...files, '--allow-simulated-platform', '--event-log']
    const good = await cloister(...td, 'ccel.bin')
    expect([good.code, good.stdout.includes('1 events lead to RTMR0')]).toEqual([0, true])
    const other = await cloister(...td, 'none.bin')
    expect([other.code, other.stderr.includes('[RTMR]')]).toEqual([EXIT.notAuthentic, true])
    const read = await cloister('attest', 'inspect', 'ccel.bin')
    expect([read.code, read.stdout.includes('firmware')]).toEqual([0, true])
  })

  it('names line and column of a policy that is none', async () => {
    const broken = await ofQuote('verify', 'quote.bin', '--policy', 'broken.yaml')
    expect(broken.code).toBe(EXIT.usage)
    expect(broken.stderr).toContain('broken.yaml:4:17: platform.tcbStatuses[0]: wanted UpToDate')
    const twice = await ofQuote('verify', 'quote.bin', '--policy', 'twice.yaml')
    expect([twice.code, twice.stderr.includes('twice.yaml:3:1')]).toEqual([EXIT.usage, true])
  })

  it('refuses of YAML what would say something else than it seems to, with its line', async () => {
    const policies: Readonly<Record<string, string>> = {
      '3:26': 'version: 1\ntees: &t [sim]\nplatform: { tcbStatuses: *t }\n',
      '4:5': 'version: 1\ntees: [sim]\nenclaves: &e [x]\n<<: *e\n',
      '1:1':
        '%YAML 1.1\n---\nversion: 1\ntees: [sim]\nplatform: { tcbStatuses: [], allowSmt: yes }\n',
    }
    for (const [at, text] of Object.entries(policies)) {
      await writeFile(join(folder, 'odd.yaml'), text)
      const { code, stderr } = await ofQuote('verify', 'quote.bin', '--policy', 'odd.yaml')
      expect([code, stderr]).toEqual([
        EXIT.usage,
        expect.stringContaining(`odd.yaml:${at}: wanted`),
      ])
    }
  })

  it('reads text that begins with a byte order mark, as some tools write it', async () => {
    const mark = '\ufeff'
    const json = JSON.stringify(collateralJson(collateral))
    await writeFile(join(folder, 'bom.json'), `${mark}${json}`)
    await writeFile(join(folder, 'bom.b64'), `${mark}${Buffer.from(quote).toString('base64')}\r\n`)
    const files = ['attest', 'verify', 'bom.b64', '--collateral', 'bom.json']
    const verified = await cloister(...files, '--at', '2026-03-02', '--allow-simulated-platform')
    expect([verified.code, verified.stderr]).toEqual([0, ''])
  })

  it('says which file is no pin of a key service', async () => {
    await writeFile(join(folder, 'no-pin.json'), '{}')
    const argv = ['attest', 'token', 'verify', 'quote.b64', '--pin', 'no-pin.json']
    const { code, stderr } = await cloister(...argv)
    expect([code, stderr]).toEqual([EXIT.usage, expect.stringContaining('no-pin.json: ')])
  })

  it('says which file is no collateral, and what one is', async () => {
    for (const text of ['{"tcb', '{"a":1}', '[]', 'null']) {
      await writeFile(join(folder, 'other.json'), text)
      const files = ['attest', 'verify', 'quote.bin', '--collateral', 'other.json']
      const { code, stderr } = await cloister(...files)
      expect([code, stderr]).toEqual([EXIT.usage, expect.stringContaining('other.json is no coll')])
      expect(stderr).toContain('docs/formats/collateral.md')
    }
  })

  it('wants collateral, of all but the home’s own simulated platform', async () => {
    const without = await cloister('attest', 'verify', 'quote.bin')
    expect([without.code, without.stderr.includes('cloister pccs get')]).toEqual([EXIT.usage, true])
    const at = ['--at', '2026-03-02', '--allow-simulated-platform']
    await writeFile(join(folder, 'own-td.bin'), platform.quoteTd({}))
    for (const file of ['quote.bin', 'own-td.bin']) {
      const { code, stdout } = await cloister('attest', 'verify', file, ...at)
      expect([file, code, stdout.includes('SIMULATED')]).toEqual([file, 0, true])
    }
  })

  it('takes days, instants in UTC and seconds to judge at, and nothing that could mean another', async () => {
    const at = (text: string) =>
      cloister(
        ...['attest', 'verify', 'quote.bin', '--collateral', 'collateral.json', '--at', text],
      )
    for (const text of [
      'March 5',
      '2026-03-02T00:00:00',
      '2026-02-30',
      '2026-3-2',
      '20260302Z',
      '',
    ]) {
      const { code, stderr } = await at(text)
      expect([text, code, stderr.includes('midnight UTC')]).toEqual([text, EXIT.usage, true])
    }
    const day = Date.parse('2026-03-02') / 1000
    for (const text of [
      '2026-03-02',
      '2026-03-02T00:00:00Z',
      '2026-03-02T00:00:00.000Z',
      `${day}`,
    ]) {
      const { code } = await at(`${text}`)
      expect([text, code]).toEqual([text, EXIT.notAuthentic])
    }
  })

  it.skipIf(!HAS_VECTORS)(`verifies quotes of real hardware at their time${SKIPPED}`, async () => {
    const tdx = `${VECTORS}/tdx/v5-td-relaunch-advised`
    const files = ['attest', 'verify', `${tdx}/quote.bin`, '--collateral', tdx, '--json']
    const { code, stdout } = await cloister(...files, '--at', '1741604669')
    expect([code, JSON.parse(stdout).claims.tcbStatus]).toEqual([0, 'TDRelaunchAdvised'])
    expect((await cloister(...files)).code).toBe(EXIT.notAuthentic)
    const snp = `${VECTORS}/snp/milan-v5-gcp`
    const report = ['attest', 'verify', `${snp}/report.bin`, '--collateral', snp, '--json']
    const unchecked = await cloister(...report, '--allow-unchecked-revocation')
    expect([unchecked.code, JSON.parse(unchecked.stdout).claims.tee]).toEqual([0, 'sev-snp'])
  })
})

describe('cloister attest quote', () => {
  it('quotes on the simulated platform, and says that it proves nothing', async () => {
    const about = 'ab'.repeat(32)
    const options = ['--source', 'simulated', '--report-data', about, '--out', 'own.bin']
    const made = await cloister('attest', 'quote', ...options)
    expect([made.code, made.stderr]).toEqual([0, 'SIMULATED: it proves nothing of any host\n'])
    const { stdout } = await cloister('attest', 'inspect', 'own.bin')
    expect(stdout).toContain(`${about}${'00'.repeat(32)}`)
  })

  it.skipIf(!CAN_STAND_IN)(
    `finds Occlum’s device, and quotes there${CAN_STAND_IN ? '' : ' (SKIPPED: no cc or bwrap)'}`,
    async () => {
      const standIn = spawn(process.execPath, [OCCLUM, '/dev/sgx'], {
        stdio: ['pipe', 'pipe', 'inherit'],
      })
      const [said] = await once(standIn.stdout, 'data')
      const set = Object.entries(JSON.parse(String(said))).flatMap(([name, value]) => [
        '--setenv',
        name,
        String(value),
      ])
      const about = 'cd'.repeat(32)
      const quote = ['attest', 'quote', '--report-data', about, '--out', join(folder, 'occlum.bin')]
      // A machine on which /dev/sgx is a device, as it is in Occlum.
      const inside = [
        ...['--ro-bind', '/', '/', '--dev', '/dev', '--dev-bind', '/dev/null', '/dev/sgx'],
        ...['--bind', folder, folder, ...set],
        ...[process.execPath, MAIN, '--json', ...quote],
      ]
      const { stdout } = await promisify(execFile)('bwrap', inside)
      standIn.stdin.end()
      expect(JSON.parse(stdout)).toMatchObject({ source: 'occlum' })
      const inspected = await cloister('attest', 'inspect', 'occlum.bin')
      expect(inspected.stdout).toContain(`${about}${'00'.repeat(32)}`)
    },
  )

  it('says where evidence could come from', async () => {
    const none = await cloister('attest', 'quote', '--source', 'tpm', '--out', 'own.bin')
    expect([none.code, none.stderr.includes('configfs-tsm, gramine, occlum')]).toEqual([
      EXIT.usage,
      true,
    ])
    const long = ['--source', 'simulated', '--report-data', 'ab'.repeat(65), '--out', 'own.bin']
    expect((await cloister('attest', 'quote', ...long)).code).toBe(EXIT.usage)
  })
})

describe('cloister attest inspect', () => {
  it.each([
    ['quote.bin', 'SGX quote', 'MRENCLAVE'],
    ['quote.hex', 'SGX quote', 'MRSIGNER'],
    ['quote.b64', 'SGX quote', 'certification data'],
    ['report.bin', 'SEV-SNP report', 'aliasCheckComplete'],
    ['pck.der', 'certificate', 'FMSPC'],
    ['snp/vek.der', 'certificate', 'chip id'],
    ['chain.pem', 'certificate chain', 'Platform CA'],
    ['crl.der', 'revocation list', 'next update'],
    ['crl.pem', 'revocation list', 'next update'],
    ['odd-chain.bin', 'SGX quote', 'not readable: '],
    ['tcb.json', 'TCB info', 'SWHardeningNeeded'],
    ['identity.json', 'identity', 'ISVSVN'],
    ['collateral.json', 'collateral', 'TCB signing chain'],
  ])('reads %s: %s', async (file, kind, fact) => {
    const { code, stdout, stderr } = await cloister('attest', 'inspect', file)
    expect([code, stderr]).toEqual([0, 'nothing here is verified\n'])
    expect(stdout.split('\n')[0]).toBe(kind)
    expect(stdout).toContain(fact)
    const { stdout: json } = await cloister('attest', 'inspect', file, '--json')
    expect(JSON.parse(json)).toMatchObject({ kind, verified: false })
  })

  it.skipIf(!HAS_VECTORS)(`reads a SIGSTRUCT${SKIPPED}`, async () => {
    const file = `${VECTORS}/../sgx-enclaves/sigstruct/ftx_test_enclave.sig`
    const { code, stdout } = await cloister('attest', 'inspect', file)
    expect([code, stdout.split('\n')[0]]).toEqual([0, 'SIGSTRUCT'])
    expect(stdout).toMatch(/MRSIGNER +[0-9a-f]{64}/)
  })

  it.each([
    ['inner-tcb.json', 'TCB info', 'SWHardeningNeeded'],
    ['inner-identity.json', 'identity', 'MRSIGNER'],
    ['packed.json', 'JSON with parts that are known', 'tcb_info_json: TCB info'],
    ['header.txt', 'certificate chain', 'Platform CA'],
    ['dumped.pem', 'certificate chain', 'Platform CA'],
    ['table.bin', 'SEV-SNP certificate table', 'VCEK'],
    ['other-vek.der', 'certificate', 'MALFORMED: '],
    ['open-enclave.pem', 'certificate chain', 'evidence in 1.3.6.1.4.1.311.105.2'],
    ['open-enclave.pem', 'certificate chain', MR_ENCLAVE],
  ])('reads %s, as services and tools write it', async (file, kind, fact) => {
    const { code, stdout } = await cloister('attest', 'inspect', file)
    expect([code, stdout.split('\n')[0]]).toEqual([0, kind])
    expect(stdout).toContain(fact)
  })

  it.skipIf(!HAS_VECTORS).each([
    ['gramine-cert.pem', '0.6.9.42.840.113741.1337.6', 'not strict DER'],
    ['intel-sgxsdk-cert.pem', '1.2.840.113741.1.13.1', 'MRENCLAVE'],
    ['openenclave_sgx_cert_ec_bad.der', '1.2.840.113556.10.1.1', 'MRENCLAVE'],
    ['rats-tls-cert.pem', '2.23.133.5.4.9', 'MRENCLAVE'],
  ])(`reads the evidence in %s${SKIPPED}`, async (name, oid, fact) => {
    const { code, stdout } = await cloister('attest', 'inspect', `${VECTORS}/ratls/${name}`)
    expect([code, stdout.includes(`evidence in ${oid}`)]).toEqual([0, true])
    expect(stdout).toContain(fact)
    expect(stdout).not.toContain('MALFORMED')
  })

  it('says what is nothing that it knows', async () => {
    const { code, stderr } = await cloister('attest', 'inspect', 'garbage')
    expect([code, stderr.includes('nothing that is known here')]).toEqual([EXIT.usage, true])
  })

  it('names the file that is malformed, and what to do', async () => {
    const cut = await cloister('attest', 'inspect', 'cut.bin')
    expect([cut.code, cut.stdout]).toEqual([EXIT.notAuthentic, ''])
    expect(cut.stderr).toMatch(/^cloister: cut\.bin: .+ \[TRUNCATED\]\n/)
    expect(cut.stderr).toContain('next: ')
    const json = await cloister('attest', 'inspect', 'cut.bin', '--json')
    expect(JSON.parse(json.stderr)).toMatchObject({ error: { code: 'TRUNCATED' }, exitCode: 4 })
  })
})

describe('what is no file of evidence', () => {
  const inputs = [
    ['snp', 'wanted a file, saw a folder'],
    ['pipe', 'wanted a file, saw a pipe or a device'],
    ['zeros', '67108864 bytes, wanted at most'],
  ] as const
  it.each(inputs)('%s is refused as evidence, collateral, policy and token', async (file, why) => {
    const pin = ['--pin', 'quote.hex']
    for (const argv of [
      ['inspect', file],
      ['verify', file, '--collateral', 'collateral.json'],
      ['verify', 'quote.bin', '--collateral', 'collateral.json', '--policy', file],
      ...(file === 'snp' ? [] : [['verify', 'quote.bin', '--collateral', file]]),
      ['token', 'verify', 'token.jwt', '--pin', file],
    ]) {
      const { code, stdout, stderr } = await cloister('attest', ...argv)
      expect([argv, code, stdout]).toEqual([argv, EXIT.usage, ''])
      expect(stderr).toContain(why)
    }
    const token = await cloister('attest', 'token', 'verify', file, ...pin)
    expect(token.code).toBe(EXIT.usage)
  })
})
