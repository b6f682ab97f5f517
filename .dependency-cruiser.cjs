/**
 * Imports run one way: cli → cluster → engine → enclave → kms, attester → attestation, pkcs11, sealed; collateral → attestation.
 * A package is entered through the entry points in its package.json only, by tests also through its test supports.
 */
const packages = [
  'attestation',
  'attester',
  'collateral',
  'pkcs11',
  'sealed',
  'kms',
  'enclave',
  'engine',
  'cluster',
  'cli',
]
const mayImport = {
  attestation: [],
  attester: ['attestation'],
  collateral: ['attestation'],
  pkcs11: [],
  sealed: [],
  kms: ['attestation', 'pkcs11', 'sealed'],
  enclave: ['attestation', 'attester', 'pkcs11', 'sealed', 'kms'],
  engine: ['attestation', 'sealed', 'kms', 'enclave'],
  cluster: ['attestation', 'kms', 'enclave', 'engine'],
  cli: ['attestation', 'attester', 'collateral', 'sealed', 'kms', 'enclave', 'engine', 'cluster'],
}

module.exports = {
  forbidden: [
    {
      name: 'no-circular',
      severity: 'error',
      from: {},
      to: { circular: true },
    },
    {
      name: 'no-unresolvable',
      severity: 'error',
      from: {},
      to: { couldNotResolve: true },
    },
    {
      // Which first sets what Node needs to survive it.
      name: 'cedar-is-entered-through-its-one-file',
      severity: 'error',
      from: { pathNot: '/policy/cedar/cedar\\.(js|d\\.ts|ts)$' },
      to: { path: '@cedar-policy' },
    },
    ...packages.map(name => ({
      name: `${name}-imports-one-way`,
      severity: 'error',
      from: { path: `^packages/${name}/` },
      to: {
        path: '^packages/([^/]+)/',
        pathNot: [name, ...mayImport[name]].map(allowed => `^packages/${allowed}/`),
      },
    })),
    ...packages.map(name => ({
      name: `${name}-entered-through-its-entry-points`,
      severity: 'error',
      from: { path: '^packages/([^/]+)/', pathNot: `^packages/${name}/` },
      to: {
        path: `^packages/${name}/`,
        pathNot: `^packages/${name}/dist/(index|docker/index|job/index|launcher/index|server/index|sigstruct/index|inspect/index|testing/index|.*\\.test\\.support)\\.(js|d\\.ts)$`,
      },
    })),
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    exclude: { path: '\\.d\\.ts$|/dist/.*\\.test\\.js$|/dist/.*-bundle' },
    tsPreCompilationDeps: false,
    enhancedResolveOptions: {
      exportsFields: ['exports'],
      conditionNames: ['import', 'node', 'default'],
    },
  },
}
