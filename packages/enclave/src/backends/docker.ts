import { stringify } from 'yaml'

/** What a container is to run. */
export type ContainerOf =
  | { readonly backend: 'gramine'; readonly name: string }
  | { readonly backend: 'occlum'; readonly name: string; readonly entryPoint: string }

/** Images with the run time of each backend; a deployment pins one by its digest. */
const BASES = {
  gramine: 'gramineproject/gramine:1.9-jammy',
  occlum: 'occlum/occlum:0.31.0-rt-ubuntu22.04',
} as const

/** Nobody: the instance needs no right on its host but the devices. */
const USER = '65534:65534'
const WORKDIR = '/enclave'

/**
 * A Dockerfile for a folder that `buildGramine` or `buildOcclum` made. Nothing that it copies is
 * secret, and what it copies is measured: the container adds no trust and takes none away.
 */
export function dockerfile(what: ContainerOf): string {
  const copied =
    what.backend === 'gramine'
      ? ['root/ root/', `${what.name}.manifest.sgx ${what.name}.sig ./`]
      : [
          'build/ build/',
          'run/ run/',
          'initfs/ initfs/',
          'Occlum.json .__occlum_status .sgx_mode ./',
        ]
  const command =
    what.backend === 'gramine' ? ['gramine-sgx', what.name] : ['occlum', 'run', what.entryPoint]
  return [
    '# The base is not measured, and cannot be: an enclave trusts nothing around it.',
    `ARG BASE=${BASES[what.backend]}`,
    // biome-ignore lint/suspicious/noTemplateCurlyInString: Docker's own substitution.
    'FROM ${BASE}',
    `WORKDIR ${WORKDIR}`,
    ...copied.map(paths => `COPY --chown=0:0 ${paths}`),
    `USER ${USER}`,
    `ENTRYPOINT ${JSON.stringify(command)}`,
    '',
  ].join('\n')
}

/**
 * A compose file for it: the two SGX devices and the AESM socket, a user without rights, a root that
 * is read-only, no capabilities, and no environment, so that no secret can be put there.
 * @see Linux, Documentation/arch/x86/sgx.rst, for the devices
 */
export function composeFile(what: ContainerOf): string {
  const writable =
    what.backend === 'gramine'
      ? ['/tmp:mode=1777']
      : ['/tmp:mode=1777', `${WORKDIR}/run:mode=0700,uid=65534,gid=65534`]
  const service = {
    build: '.',
    image: `${what.name}-${what.backend}`,
    user: USER,
    read_only: true,
    cap_drop: ['ALL'],
    security_opt: ['no-new-privileges:true'],
    devices: ['/dev/sgx_enclave:/dev/sgx_enclave', '/dev/sgx_provision:/dev/sgx_provision'],
    // The group that owns /dev/sgx_provision differs from host to host: getent group sgx_prv.
    // biome-ignore lint/suspicious/noTemplateCurlyInString: Compose's own substitution.
    group_add: ['${SGX_PRV_GID:?set it: getent group sgx_prv}'],
    volumes: ['/var/run/aesmd/aesm.socket:/var/run/aesmd/aesm.socket'],
    tmpfs: writable,
    restart: 'no',
  }
  return stringify({ services: { [what.name]: service } })
}
