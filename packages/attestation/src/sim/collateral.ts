import { type KeyObject, sign } from 'node:crypto'
import type { Collateral } from '../collateral/collateral.ts'
import type { QeIdentity } from '../collateral/qe-identity.ts'
import { parseCertificate } from '../x509/certificate.ts'
import { parsePckExtension } from '../x509/pck.ts'
import { encodePemCertificates } from '../x509/pem.ts'
import { issueCrl } from './certificate-writer.ts'
import type { SimConditions, SimExpirable, SimRevocable, SimTcbInfoForm } from './conditions.ts'
import { SIM_NAMES } from './names.ts'
import { SIM_QE, SIM_TCB, type SimState, wholeSeconds } from './state.ts'
import { SIM_TDX, type SimTdxConditions } from './td.ts'

/** Days for which collateral is valid, as the vendor's is. */
const SIM_COLLATERAL_DAYS = 30

const DAY = 24 * 60 * 60 * 1000

/** A signed document on its own. */
export interface SimDocument {
  /** The signed object as text. */
  readonly text: string
  /** Raw r||s, 64 bytes. */
  readonly signature: Uint8Array
  /** PEM, signer first. */
  readonly chain: string
}

interface Validity {
  readonly issued: Date
  readonly expires: Date
}

/**
 * Issues collateral that is valid from `at` for 30 days: of trust domains where `tdx` is given, of
 * enclaves otherwise.
 */
export function simCollateral(
  state: SimState,
  at: Date,
  form: SimTcbInfoForm = {},
  tdx?: SimTdxConditions,
): Collateral {
  const { conditions, keys, certificates } = state
  const validity = (what: SimExpirable): Validity => {
    const late = conditions.expired.includes(what) ? 2 * SIM_COLLATERAL_DAYS * DAY : 0
    const issued = wholeSeconds(new Date(at.getTime() - late))
    return { issued, expires: new Date(issued.getTime() + SIM_COLLATERAL_DAYS * DAY) }
  }
  const crl = (what: 'rootCaCrl' | 'pckCrl', by: 'root' | 'platformCa', among: SimRevocable[]) =>
    issueCrl({
      issuer: { commonName: SIM_NAMES[by], key: keys[by] },
      thisUpdate: validity(what).issued,
      nextUpdate: validity(what).expires,
      revoked: among
        .filter(revocable => conditions.revoked.includes(revocable))
        .map(revocable => parseCertificate(certificates[revocable]).serial),
    })
  const signerChain = encodePemCertificates(certificates.tcbSigning, certificates.root)
  const tcbInfo = tcbInfoText(state, validity('tcbInfo'), form, tdx)
  const qeIdentity = qeIdentityText(conditions, validity('qeIdentity'), tdx ? 'TD_QE' : 'QE')
  return {
    pckCrlIssuerChain: encodePemCertificates(certificates.platformCa, certificates.root),
    rootCaCrl: crl('rootCaCrl', 'root', ['platformCa', 'tcbSigning']),
    pckCrl: crl('pckCrl', 'platformCa', ['pck']),
    tcbInfoIssuerChain: signerChain,
    tcbInfo,
    tcbInfoSignature: signText(keys.tcbSigning, tcbInfo),
    qeIdentityIssuerChain: signerChain,
    qeIdentity,
    qeIdentitySignature: signText(keys.tcbSigning, qeIdentity),
  }
}

/** A signed list of the one evaluation number that this platform's documents bear. */
export function simEvaluationNumbers(state: SimState, at: Date, id: 'SGX' | 'TDX'): SimDocument {
  const { conditions } = state
  const issued = wholeSeconds(at)
  const text = JSON.stringify({
    id,
    version: 1,
    issueDate: instant(issued),
    nextUpdate: instant(new Date(issued.getTime() + SIM_COLLATERAL_DAYS * DAY)),
    tcbEvalNumbers: [
      {
        tcbEvaluationDataNumber: conditions.tcbEvaluationDataNumber,
        tcbRecoveryEventDate: instant(conditions.tcbDate),
        tcbDate: instant(conditions.tcbDate),
      },
    ],
  })
  return signedDocument(state, text)
}

/** A signed identity of one of the vendor's enclaves: all of one signer, told by their id. */
export function simIdentity(state: SimState, at: Date, id: QeIdentity['id']): SimDocument {
  const issued = wholeSeconds(at)
  const expires = new Date(issued.getTime() + SIM_COLLATERAL_DAYS * DAY)
  return signedDocument(state, qeIdentityText(state.conditions, { issued, expires }, id))
}

function signedDocument({ keys, certificates }: SimState, text: string): SimDocument {
  return {
    text,
    signature: signText(keys.tcbSigning, text),
    chain: encodePemCertificates(certificates.tcbSigning, certificates.root),
  }
}

/** TCB info, its members in the vendor's order. */
function tcbInfoText(
  { conditions, certificates }: SimState,
  validity: Validity,
  { version = 3, fmspc }: SimTcbInfoForm,
  tdx: SimTdxConditions | undefined,
): string {
  const pck = parsePckExtension(parseCertificate(certificates.pck))
  return JSON.stringify({
    ...(version === 2 ? {} : { id: tdx === undefined ? 'SGX' : 'TDX' }),
    version,
    issueDate: instant(validity.issued),
    nextUpdate: instant(validity.expires),
    fmspc: hex(fmspc ?? pck.fmspc),
    pceId: hex(pck.pceid),
    tcbType: 0,
    tcbEvaluationDataNumber: conditions.tcbEvaluationDataNumber,
    ...(tdx === undefined ? {} : tdxModules(conditions, tdx)),
    tcbLevels: levelsAround(conditions.tcbStatus).map(({ step, status }) => ({
      tcb: {
        ...sgxComponents(version, step),
        pcesvn: SIM_TCB.pceSvn,
        ...(tdx === undefined ? {} : { tdxtcbcomponents: tdxComponents(step) }),
      },
      tcbDate: instant(conditions.tcbDate),
      tcbStatus: status,
      ...(version === 3 && step === 0 && conditions.advisoryIds.length > 0
        ? { advisoryIDs: conditions.advisoryIds }
        : {}),
    })),
  })
}

/** A list since version 3; in version 2, a member for each, `sgxtcbcomp01svn` the first. */
function sgxComponents(version: 2 | 3, step: number): Readonly<Record<string, unknown>> {
  const svns = SIM_TCB.components.map(svn => svn + step)
  if (version === 3) return { sgxtcbcomponents: svns.map(svn => ({ svn })) }
  const member = (index: number) => `sgxtcbcomp${String(index + 1).padStart(2, '0')}svn`
  return Object.fromEntries(svns.map((svn, index) => [member(index), svn]))
}

/** The module's own version, which its identity counts, and the loader's. */
function tdxComponents(step: number): readonly { readonly svn: number }[] {
  const { moduleSvn, loaderSvn } = SIM_TDX
  const svns = [moduleSvn + step, 0, loaderSvn + Math.min(step, 0)]
  return Array.from({ length: 16 }, (_, index) => ({ svn: svns[index] ?? 0 }))
}

function tdxModules(
  { tcbDate }: SimConditions,
  { moduleTcbStatus = 'UpToDate' }: SimTdxConditions,
) {
  const module = {
    mrsigner: '00'.repeat(48),
    attributes: '00'.repeat(8),
    attributesMask: 'FF'.repeat(8),
  }
  const levels = levelsAround(moduleTcbStatus).map(({ step, status }) => ({
    tcb: { isvsvn: SIM_TDX.moduleSvn + step },
    tcbDate: instant(tcbDate),
    tcbStatus: status,
  }))
  const id = `TDX_${String(SIM_TDX.moduleMajor).padStart(2, '0')}`
  return { tdxModule: module, tdxModuleIdentities: [{ id, ...module, tcbLevels: levels }] }
}

/** QE identity of version 2, its members in the vendor's order. */
function qeIdentityText(
  conditions: SimConditions,
  validity: Validity,
  id: QeIdentity['id'],
): string {
  return JSON.stringify({
    id,
    version: 2,
    issueDate: instant(validity.issued),
    nextUpdate: instant(validity.expires),
    tcbEvaluationDataNumber: conditions.tcbEvaluationDataNumber,
    miscselect: '00000000',
    miscselectMask: 'FFFFFFFF',
    // INIT and MODE64BIT and no other flag, whatever the XFRM.
    attributes: '05000000000000000000000000000000',
    attributesMask: 'FFFFFFFFFFFFFFFF0000000000000000',
    mrsigner: hex(SIM_QE.mrSigner),
    isvprodid: SIM_QE.isvProdId,
    tcbLevels: levelsAround(conditions.qeTcbStatus).map(({ step, status }) => ({
      tcb: { isvsvn: SIM_QE.isvSvn + step },
      tcbDate: instant(conditions.tcbDate),
      tcbStatus: status,
    })),
  })
}

/** Levels of which the platform reaches the one at step 0, unless it reaches none. */
function levelsAround(
  status: SimConditions['tcbStatus'],
): readonly { readonly step: number; readonly status: string }[] {
  switch (status) {
    case 'UpToDate':
    case 'SWHardeningNeeded':
    case 'ConfigurationNeeded':
    case 'ConfigurationAndSWHardeningNeeded':
      return [
        { step: 0, status },
        { step: -1, status: 'OutOfDate' },
      ]
    case 'OutOfDate':
    case 'OutOfDateConfigurationNeeded':
    case 'Revoked':
      return [
        { step: 1, status: 'UpToDate' },
        { step: 0, status },
      ]
    case 'NotSupported':
      return [{ step: 1, status: 'UpToDate' }]
  }
}

function signText(key: KeyObject, text: string): Uint8Array {
  return new Uint8Array(
    sign('sha256', Buffer.from(text, 'utf8'), { key, dsaEncoding: 'ieee-p1363' }),
  )
}

/** Without fractions of a second, as the vendor writes them. */
function instant(at: Date): string {
  return `${at.toISOString().slice(0, 19)}Z`
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex').toUpperCase()
}
