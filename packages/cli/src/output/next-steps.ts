/**
 * What to do about a failure, in one sentence: by `Class CODE`, else by the code alone. Only where
 * there is something to do that the message does not say already.
 */
const NEXT_STEPS: Readonly<Record<string, string>> = {
  'KmsError RELEASE_DENIED':
    '`cloister policy explain` says what to change; `cloister policy add --key KEY --job job.yaml --tee TEE` allows this very job',
  'KmsError KEY_ATTESTED_ONLY':
    'run a job over the data, with its result under an open key: cloister run --help',
  'KmsError KEY_DISABLED': 'ask the owner of the key why it is disabled',
  'KmsError UNAUTHENTICATED':
    'look at which credential the home folder holds, or at --operator-token-file: a token that was replaced is worth nothing; an account of its own is opened by cloister kms enrol',
  'KmsError NOT_ALLOWED': 'cloister account show says what this credential may do',
  'KmsError WITHDRAWN':
    'run another image; cloister policy withdraw --list shows what is withdrawn',
  'KmsError RATE_LIMITED':
    'wait a moment; for good, whoever runs the key service can allow more: --rate-account, --rate-address',
  'KmsError LIMIT': 'remove what is no longer used',
  'PolicyError POLICY_INVALID': 'docs/formats/release-policy.md says what may stand there',
  'KmsError KEY_STATE': 'cloister key describe KEY says where the key is in its life',
  'KmsError KEY_USAGE': 'cloister key describe KEY says what the key is for',
  'KmsError ALIAS_TAKEN': 'have the alias name this key instead: cloister key alias update',
  'KmsError CIPHERTEXT_INVALID':
    'give the key and the encryption context (--context) that it was encrypted with',
  'KmsError IMPORT_TOKEN': 'begin the import anew: a token serves once, within a day',
  'KmsError APPRAISAL_REJECTED':
    "the platform is not one that the key service's appraisal policy accepts; run elsewhere",
  'KmsError HEAD_CONFLICT':
    'another writer moved the dataset on; look at its newest version, then run again',
  'KmsError INTEGRITY':
    "a row of the key service's database was altered behind its back: restore the database, and find out by whom",
  'KmsError COLLATERAL_UNAVAILABLE':
    'the key service needs newer collateral before it can verify anybody; ask whoever runs it',
  'KmsConnectionError UNREACHABLE': 'is the key service running? cloister doctor asks it',
  'KmsConnectionError TIMEOUT': 'is the key service running? cloister doctor asks it',
  'KmsConnectionError FALSE_KMS':
    'send it nothing; find out who answers there, and get kms.json again over a channel you trust',
  'KmsConnectionError LOG_HISTORY':
    'trust nothing it has released since; ask whoever runs the key service whether its database was restored: then cloister audit accept-restored --help',
  'AuditError ROLLED_BACK':
    'put the newest database back; where its loss is accepted: cloister kms restore --help',
  'StoreError ROLLED_BACK':
    'put the newest database back, or stop all replicas and accept the loss: cloister kms restore --help',
  'StoreError LOCKED': 'a key service runs over this database: stop it first',
  'StoreError WRONG_ROOT_KEY':
    'give the root key that the database was made with, or rotated to last',
  'AuditError WITNESS':
    'look at the path; for a key service that ran without one: cloister audit checkpoint --out FILE',
  'SealedFormatError TAG':
    'the data was altered after it was sealed: put a good copy back, and find out who could write to it',
  'SealedFormatError HEADER_MAC':
    'the header was altered after it was sealed: put a good copy back, and find out who could write to it',
  'SealedFormatError MAGIC': 'this is no sealed file: look at the path',
  'DatasetError VERSION':
    'the folder holds another version than the newest that was written: put the newest back',
  'DatasetError MANIFEST_MISSING':
    'is it the folder of a dataset, and did the job that writes it end well?',
  'DatasetError DATASET_ID':
    'compare the folder and the id: `cloister encrypt` and job.yaml name both',
  'DatasetError PART_MISSING': 'put the missing part back from a copy',
  'DatasetError PART_CHANGED': 'put the part back from a copy, and find out who could write to it',
  'DatasetError PLAIN_FILE':
    'a dataset consists of files alone: take links, pipes and odd names out of the folder',
  'DatasetError NO_SPACE':
    'make room on that disk; nothing half-written is left under a final name',
  'ImageError EXISTS': 'name another folder, or remove that one',
  'ImageError CHANGED': 'build the image again, or get it again from whoever signed it',
  'BackendError TOOL_MISSING': 'install it, or say where it is: docs/gramine.md, docs/occlum.md',
  'BackendError MEASUREMENT':
    'the tool, its PAL or what was built is not what it seems: trust neither, and look which changed',
  'SigstructError TEST_KEY':
    'make a key of your own: cloister enclave key generate FILE; for tests, a debug enclave',
  'SigstructError PASSPHRASE': 'give its passphrase: --passphrase-file FILE',
  'EnclaveFileError MEASUREMENT':
    'it was altered after it was signed: build it again, or get it again from whoever signed it',
  'EnclaveFileError UNSIGNED': 'give its SIGSTRUCT: --sigstruct FILE',
  'ImageError SECRET':
    'keep it out of the image, under exclude; a file that only looks like a secret is named under allowedSecrets, with its SHA-256 and a reason',
  'LockError LOCK_MISSING': 'cloister enclave lock DEFINITION; enclave.yaml where none is given',
  'LockError LOCK_STALE': 'cloister enclave lock DEFINITION; enclave.yaml where none is given',
  'LockError LOCK_FORMAT': 'put the lock back from version control, or remove it and lock again',
  'LockError ARTEFACT_MISSING': 'cloister enclave lock fetches what the store lacks',
  'LockError ARTEFACT_CHANGED':
    'remove that file of the store and lock again; find out who could write to it',
  'EngineError MEMORY_LIMIT': 'raise resources.memoryMiB in the job, or read fewer columns',
  'EngineError COLUMN': 'name the columns that the file has',
  'AttestedTlsError REJECTED':
    'compare what was wanted and seen; if what runs there is what you mean, name it in the policy',
  'AttestedTlsError BINDING': 'trust nothing that came this way: somebody stands between',
  'ClusterError KUBECONFIG': 'give --kubeconfig FILE and, where it has several, --context NAME',
  'ClusterError UNREACHABLE': 'does kubectl reach it? kubectl cluster-info',
  'ClusterError REFUSED': 'whom does it take you for? kubectl auth whoami',
  'ClusterError ANSWER': 'look at the address in the kubeconfig: kubectl cluster-info',
  'ClusterError ABSENT': 'cloister cluster list says which runs there are',
  'ClusterError EXISTS': 'give another --name, or remove that run: cloister cluster remove NAME',
  'ClusterError INVALID':
    'what the namespace takes is on docs/kubernetes.md; templates are sent as they are',
  'RunError OPTION': 'cloister cluster render shows the objects before any is made',
  'RunError TEMPLATE': 'docs/kubernetes.md says what a pod template may hold',
  'RunError DRIVER':
    'the driver’s log above says why; kubectl logs --container home, for what comes before it',
  'RunError EVICTED': 'run it again, on machines that are not about to go or are less full',
  'RunError LOST':
    'look for the receipt in the output’s folder: with it the job is done; else run it again',
  'ContainerError ENGINE':
    'start it, or name another: --docker-engine podman; docs/docker.md says what is needed',
  'ContainerError NOT_ALLOWED':
    'have yourself put into its group (docker), which is as good as root here; or --docker-engine podman, which needs no group',
  'ContainerError IMAGE':
    'build it: docker build --file deploy/image/Dockerfile --tag cloister:0.1.0 . ; or name yours: --docker-image NAME',
  'ContainerError USER':
    'run as an ordinary user who owns it, or hand its folder over: chown --recursive 10001:10001 FOLDER',
  'ContainerError DEVICE':
    'docs/docker.md says what SGX takes; cloister doctor looks at this machine',
  'ContainerError START':
    'look at the image: docker run --rm IMAGE run --help; docs/docker.md says what it must have',
  'PccsAdminError UNREACHABLE':
    'is it running, and does --ca name its certificate? cloister pccs serve prints both',
  'PccsAdminError URL': 'give --url https://HOST:PORT, and --ca for a certificate of its own',
  'BundleError REFUSED':
    'fetch it again; with --data, --partial takes what verifies without the rest',
  'DataInUseError IN_USE':
    'stop the service, or give it the bundle while it runs: --url in place of --data',
  'TokenFileError MODE': 'chmod 600 that file, and think about who has read it',
  'RootKeyError KIND': 'say how the root key is kept: --root-key, in docs/root-key.md',
  'RootKeyError PIN_LOCKS': 'log in to the token once by hand, or have its PIN set anew',
  'RootKeyError WRONG_PASSPHRASE': 'try again with the passphrase the key service was started with',
  'LaunchError SANDBOX':
    'install bubblewrap, or allow it namespaces: docs/run.md; for programs that you trust with this machine, --without-sandbox',
  'LaunchError EXECUTORS':
    'the warnings above say why executors ended; images that have none: entry.executor in docs/spark.md',
  'LaunchError DRIVER':
    'cloister run JOB --executors N --listen HOST:PORT, on the host of the driver; does a firewall let this one call it?',
  'LaunchError HOSTS_SECRET':
    'make it once, and copy it to every host: ( umask 077; head -c 32 /dev/urandom > hosts.secret )',
  'OnError STANDALONE_CLUSTER':
    'cloister run JOB --executors N --listen HOST:PORT, and on each host of the cluster: cloister executor JOB --driver HOST:PORT',
  'OnError NO_QUERY_RUNNER': 'leave --on out: the image says what runs it',
  'LaunchError MEMORY': 'declare more under resources of the image, or run it on a larger machine',
  'InstanceError INPUT':
    'is all of that dataset there, as it was sealed, and is its folder the one that job.yaml names?',
  'InstanceError PROGRAM':
    'what the program said stands above: mend the program, the query or the data',
  QuoteFormatError: 'cloister attest inspect FILE says what a file is',
  'CollateralError EXPIRED': 'fetch newer collateral, or judge at its time: --at',
  'ChainError CRL_EXPIRED': 'fetch newer collateral, or judge at its time: --at',
  'ChainError UNTRUSTED_ROOT':
    'believe it only if you know whose root that is: --trust-root FILE, or --allow-simulated-platform for the simulated TEE of this home',
  'EvidenceError QE_VENDOR':
    'it is not of hardware that is known here; a quote of this home’s simulated TEE wants --allow-simulated-platform',
  'ChainError CRL_ISSUER': 'fetch the collateral of the quote’s own platform: cloister pccs get',
  'CollateralError NOT_YET_VALID': 'look at the clock, or at --at',
  'ChainError NOT_YET_VALID': 'look at the clock, or at --at',
  'CollateralError FMSPC': 'fetch the collateral of the quote’s own FMSPC',
  'CollateralError OTHER_TEE': 'give --collateral of the kind of evidence that the file is',
  InspectError:
    'it is cut short, altered, or of a form that nobody signs: get it again from where it came',
  ENOENT: 'look at the path',
  EACCES: 'look at who may read and write there',
  ENOSPC: 'make room on that disk',
  EADDRINUSE: 'give another port, or stop what listens there',
  EADDRNOTAVAIL: 'give an address that this machine has',
  ECONNREFUSED: 'is the key service running? cloister doctor asks it',
}

/** The next step for an error of a class and code, of a class, or of a code, or `undefined` where the message says it all. */
export function nextStepFor(name: string, code: string | undefined): string | undefined {
  return code === undefined
    ? undefined
    : (NEXT_STEPS[`${name} ${code}`] ?? NEXT_STEPS[name] ?? NEXT_STEPS[code])
}
