/** Where a secret was found, and by which rule. Never the secret. */
export interface Finding {
  readonly rule: string
  /** Line, from 1, in text. */
  readonly line?: number
}

/** A rule that looks for a text wherever it stands. */
export interface TextRule {
  readonly rule: string
  /** One of these must be there for the expression to be tried: searching for them is fast. */
  readonly anchors: readonly string[]
  /** Tried around each anchor, over Latin-1. Its match is the finding. */
  readonly expression: RegExp
  /** A last look at what matched. */
  readonly isReal?: (match: string) => boolean
}

/** A rule about a file as a whole: what it is called, how it begins. */
export interface FileRule {
  readonly rule: string
  readonly matches: (path: string, head: Buffer, text: () => string) => boolean
}

/** How far around an anchor an expression may reach. */
export const REACH = 4096

/** How much of a file's beginning file rules see. */
export const HEAD = 1024 * 1024

function payloadOf(jwt: string): string {
  return Buffer.from(jwt.split('.')[1] ?? '', 'base64url').toString('utf8')
}

/** Rules that stop a build wherever their text is found. */
export const TEXT_RULES: readonly TextRule[] = [
  {
    // RFC 7468, RFC 1421 headers, OpenSSH's and OpenPGP's armour; also inside JSON, where lines end
    // in \n. The label alone is common in programs that look for it: some of the key must follow.
    rule: 'private-key',
    anchors: ['PRIVATE KEY'],
    expression:
      /-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----(?:\s|\\n|\\r|[A-Za-z-]+: [^\n\\]{1,200})*[A-Za-z0-9+/]{32}/g,
  },
  {
    rule: 'putty-private-key',
    anchors: ['PuTTY-User-Key-File-'],
    expression: /PuTTY-User-Key-File-[23]: [\s\S]{1,2000}?Private-Lines: [1-9]/g,
  },
  {
    rule: 'kubernetes-service-account-token',
    anchors: ['eyJ'],
    expression: /eyJ[A-Za-z0-9_-]{16,2000}\.eyJ[A-Za-z0-9_-]{16,3000}\.[A-Za-z0-9_-]{40,1000}/g,
    isReal: jwt => /kubernetes[./]/.test(payloadOf(jwt)),
  },
  {
    rule: 'aws-secret-key',
    anchors: ['secret_access_key', 'SECRET_ACCESS_KEY', 'ecretAccessKey'],
    expression:
      /aws_?secret_?access_?key["']?\s{0,4}[:=]\s{0,4}["']?([A-Za-z0-9/+]{40})(?![A-Za-z0-9/+])/gi,
    isReal: match => !match.endsWith('EXAMPLEKEY'),
  },
  {
    rule: 'alibaba-secret-key',
    anchors: ['key_secret', 'KEY_SECRET', 'eySecret'],
    expression: /access_?key_?secret["']?\s{0,4}[:=]\s{0,4}["']?([A-Za-z0-9]{30})(?![A-Za-z0-9])/gi,
  },
  {
    rule: 'azure-storage-key',
    anchors: ['AccountKey='],
    expression: /AccountKey=[A-Za-z0-9+/]{86}==/g,
  },
  {
    rule: 'google-oauth-secret',
    anchors: ['GOCSPX-'],
    expression: /GOCSPX-[A-Za-z0-9_-]{28}(?![A-Za-z0-9_-])/g,
  },
  {
    rule: 'github-token',
    anchors: ['ghp_', 'gho_', 'ghu_', 'ghs_', 'ghr_', 'github_pat_'],
    expression:
      /(?<![A-Za-z0-9_])(?:gh[pousr]_[A-Za-z0-9]{36}|github_pat_[A-Za-z0-9_]{82})(?![A-Za-z0-9_])/g,
    isReal: looksRandom,
  },
  {
    rule: 'gitlab-token',
    anchors: ['glpat-'],
    expression: /(?<![A-Za-z0-9_-])glpat-[A-Za-z0-9_-]{20}(?![A-Za-z0-9_-])/g,
    isReal: looksRandom,
  },
  {
    rule: 'npm-token',
    anchors: ['npm_'],
    expression: /(?<![A-Za-z0-9_])npm_[A-Za-z0-9]{36}(?![A-Za-z0-9])/g,
    isReal: looksRandom,
  },
  {
    rule: 'pypi-token',
    anchors: ['pypi-AgE'],
    expression: /pypi-AgE[A-Za-z0-9_-]{60,}/g,
  },
  {
    rule: 'slack-token',
    anchors: ['xox'],
    expression: /(?<![A-Za-z0-9])xox[abprs]-[0-9]{8,}-[0-9A-Za-z-]{20,}/g,
  },
]

/** Placeholders repeat a letter or count up; tokens of thirty random letters have a dozen kinds. */
function looksRandom(match: string): boolean {
  return new Set(match.slice(4)).size >= 12
}

function nameOf(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1)
}

/** Elements of DER: content of the SEQUENCE at the start, for a file that is one and nothing more. */
function sequenceContent(head: Buffer): Buffer | undefined {
  if (head[0] !== 0x30 || head[1] === undefined) return undefined
  // Also BER's indefinite length, which some tools write PKCS #12 in.
  if (head[1] <= 0x80) return head.subarray(2)
  return head.subarray(2 + (head[1] & 0x7f))
}

const PFX_VERSION = Buffer.from('020103', 'hex')
const DATA_OIDS = ['06092a864886f70d010701', '06092a864886f70d010702'] as const

function isPkcs12(head: Buffer): boolean {
  // RFC 7292, section 4: version 3, then a ContentInfo of type data or signedData.
  const content = sequenceContent(head)
  if (content?.subarray(0, 3).equals(PFX_VERSION) !== true) return false
  const info = sequenceContent(content.subarray(3))?.subarray(0, 11).toString('hex')
  return DATA_OIDS.some(oid => oid === info)
}

function isPkcs8(head: Buffer): boolean {
  // RFC 5208, section 5: version 0, then the algorithm: RSA, EC, or a curve of RFC 8410.
  const content = sequenceContent(head)?.toString('hex', 0, 24) ?? ''
  return /^020100(?:30..)(?:06092a864886f70d010101|06072a8648ce3d0201|06032b65(?:6e|6f|70|71))/.test(
    content,
  )
}

/** Kinds of entries in Java's keystores; a certificate is 2. */
const PRIVATE_KEY_ENTRY = 1
const SECRET_KEY_ENTRY = 3

/** A Java keystore with a private or secret key in it; stores of certificates alone are none. */
function isJavaKeystore(head: Buffer): boolean {
  const magic = head.length >= 12 ? head.readUInt32BE(0) : 0
  if (magic !== 0xfeedfeed && magic !== 0xcececece) return false
  const skipText = (at: number) => at + 2 + head.readUInt16BE(at)
  try {
    const version = head.readUInt32BE(4)
    let at = 12
    for (let left = head.readUInt32BE(8); left > 0; left -= 1) {
      const tag = head.readUInt32BE(at)
      if (tag === PRIVATE_KEY_ENTRY || tag === SECRET_KEY_ENTRY) return true
      at = skipText(at + 4) + 8
      if (version === 2) at = skipText(at)
      at += 4 + head.readUInt32BE(at)
    }
    return false
  } catch {
    // Longer than what is looked at, or no keystore after all.
    return false
  }
}

/** Rules that stop a build by what a file is. */
export const FILE_RULES: readonly FileRule[] = [
  { rule: 'pkcs12', matches: (_path, head) => isPkcs12(head) },
  { rule: 'pkcs8-private-key', matches: (_path, head) => isPkcs8(head) },
  { rule: 'java-keystore', matches: (_path, head) => isJavaKeystore(head) },
  {
    rule: 'dotenv',
    matches: (path, _head, text) =>
      /^\.env(?:\.(?!example$|sample$|template$|dist$)[A-Za-z0-9_.-]+)?$/.test(nameOf(path)) &&
      /^\s*(?:export\s+)?[A-Za-z_][A-Za-z0-9_]*\s*=\s*\S/m.test(text()),
  },
  {
    rule: 'netrc',
    matches: (path, _head, text) =>
      /^[._]netrc$/.test(nameOf(path)) && /\bpassword\s+\S/.test(text()),
  },
  {
    rule: 'npmrc',
    matches: (path, _head, text) =>
      nameOf(path) === '.npmrc' &&
      /^\s*(?:\S*:)?_(?:authToken|auth|password)\s*=\s*(?!\$\{)\S/m.test(text()),
  },
  {
    rule: 'pypirc',
    matches: (path, _head, text) =>
      nameOf(path) === '.pypirc' && /^\s*password\s*[:=]\s*\S/m.test(text()),
  },
  {
    rule: 'git-credentials',
    matches: (path, _head, text) =>
      nameOf(path) === '.git-credentials' && /:\/\/[^\s:/]+:[^\s@/]+@/.test(text()),
  },
  {
    rule: 'docker-credentials',
    matches: (path, _head, text) =>
      /^(?:config\.json|\.dockercfg|\.dockerconfigjson)$/.test(nameOf(path)) &&
      /"auths?"\s*:/.test(text()) &&
      /"(?:auth|identitytoken|password)"\s*:\s*"[^"]{4,}"/.test(text()),
  },
  {
    rule: 'kubeconfig',
    matches: (_path, head, text) =>
      head.includes('kind: Config') &&
      /^users:/m.test(text()) &&
      /^\s+(?:client-key-data|token|password):\s*\S/m.test(text()),
  },
  {
    // Where Kubernetes mounts it, whatever the token's form.
    rule: 'kubernetes-service-account-token',
    matches: (path, head) =>
      /(?:^|\/)secrets\/kubernetes\.io\/serviceaccount\/(?:\.\.[^/]+\/)?token$/.test(path) &&
      head.length > 0,
  },
]

/** Kinds of keys that public packages hold for their tests and examples; everyone has them. */
const KEY_RULES = new Set([
  'private-key',
  'putty-private-key',
  'pkcs12',
  'pkcs8-private-key',
  'java-keystore',
])

/**
 * Whether a finding in a package that anybody can download is told and does not stop a build: a key
 * that everybody has is no secret. Tokens stop there too.
 */
export function isPublicKeyMaterial({ rule }: Finding): boolean {
  return KEY_RULES.has(rule)
}
