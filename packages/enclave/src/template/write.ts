import { SCHEMA_FILE } from '../definition/json-schema.ts'
import { OLDER_NAMES, olderValue } from '../definition/resources.ts'
import type { ProgramLook } from './look.ts'

/** What the environment of the older scripts says about resources. */
export type OlderEnvironment = Readonly<Record<string, string | undefined>>

interface Sections {
  readonly program: readonly string[]
  readonly content: string
  readonly environment?: string
  readonly memoryMiB: number
}

const PYTHON_PACKAGES = `debian:
  # Python itself. What other packages they need is locked too; of that, only what is loaded goes in.
  packages: [python3-minimal, python3.11-minimal, libpython3.11-minimal, libpython3.11-stdlib]
  minimal: true
`

function filesSection(main: string | undefined, fallback: string): string {
  return `files:
  - from: ${main ?? `${fallback}   # the file that your program begins with`}
    to: /app/${main ?? fallback}
  # A whole folder, without some of it:
  # - {from: data, to: /app/data, exclude: ["*.tmp", ".git"]}
`
}

function python(look: ProgramLook): Sections {
  const requirements =
    look.requirements === undefined
      ? `# Packages of PyPI, as wheels. With hashes (pip-compile --generate-hashes), pip demands them.
# python:
#   requirements: requirements.txt
`
      : `python:
  # As wheels alone: nothing of a package is run. With hashes, pip demands them.
  requirements: ${look.requirements}
`
  return {
    program: ['/usr/bin/python3', `/app/${look.main ?? 'main.py'}`],
    content: `${filesSection(look.main, 'main.py')}
${PYTHON_PACKAGES}
${requirements}`,
    memoryMiB: 2048,
  }
}

function pyspark(look: ProgramLook): Sections {
  return {
    program: ['/usr/bin/python3', `/app/${look.main ?? 'job.py'}`],
    content: `${filesSection(look.main, 'job.py')}
debian:
  # Python, the Java that Spark runs on, and the shell that starts it.
  packages:
    - python3-minimal
    - python3.11-minimal
    - libpython3.11-minimal
    - libpython3.11-stdlib
    - openjdk-17-jre-headless
    - bash
    - coreutils
    - procps
  minimal: true

python:
  # What pyspark needs (py4j==0.10.9.9), and what your job needs. pyspark itself comes as a source archive:
  # nothing of it is run to install it, so it is named here and not in the requirements.
  requirements: ${look.requirements ?? 'requirements.txt'}
  sources:
    pyspark:
      version: "4.2.0"
      folders:
        pyspark: pyspark
        deps/jars: pyspark/jars
        deps/bin: pyspark/bin
        deps/sbin: pyspark/sbin
        deps/data: pyspark/data
`,
    environment: `  PATH: /usr/bin
  JAVA_HOME: /usr/lib/jvm/java-17-openjdk-amd64
  SPARK_LOCAL_HOSTNAME: localhost
  SPARK_LOCAL_DIRS: /tmp
`,
    memoryMiB: 8192,
  }
}

function java(look: ProgramLook): Sections {
  const maven =
    look.pom === undefined
      ? `# The jars that a pom needs to run:
# maven:
#   pom: pom.xml
#   to: /app/lib
`
      : `maven:
  # The jars that it needs to run, and what these need. Versions in it are exact.
  pom: ${look.pom}
  to: /app/lib
`
  return {
    program: [
      '/usr/bin/java',
      '-XX:+DisableAttachMechanism',
      '-cp',
      '/app/app.jar:/app/lib/*',
      'Main',
    ],
    content: `${filesSection(look.main?.endsWith('.jar') === true ? look.main : undefined, 'app.jar')}
debian:
  packages: [openjdk-17-jre-headless]
  minimal: true

${maven}`,
    memoryMiB: 2048,
  }
}

function node(look: ProgramLook): Sections {
  const npm =
    look.lockfile === undefined
      ? `# Packages of npm, as a lock file says:
# npm:
#   lockfile: package-lock.json
#   to: /app
`
      : `npm:
  # Without development dependencies; no install script is run.
  lockfile: ${look.lockfile}
  to: /app
`
  const manifest =
    look.packageJson === undefined
      ? ''
      : `  # Says whether .js is a module.
  - {from: package.json, to: /app/package.json}
`
  return {
    program: ['/usr/bin/node', `/app/${look.main ?? 'index.js'}`],
    content: `# Node, the one that Cloister's init runs on.
node: true

${filesSection(look.main, 'index.js')}${manifest}
${npm}`,
    memoryMiB: 1024,
  }
}

function binary(look: ProgramLook): Sections {
  const needs = look.libraries.length === 0 ? '' : `  # It asks for ${look.libraries.join(', ')}.\n`
  const shell =
    look.shell === undefined ? [] : [look.shell === 'bash' ? 'bash' : 'dash', 'coreutils']
  const main = look.main ?? 'program'
  return {
    program: look.shell === undefined ? [`/app/${main}`] : [`/bin/${look.shell}`, `/app/${main}`],
    content: `${filesSection(look.main, 'program')}
debian:
  # Packages with the libraries and programs that it needs; a missing library is named when building.
${needs}  packages: [${['libc6', ...shell].join(', ')}]
  minimal: true
`,
    memoryMiB: 512,
  }
}

const WRITERS = { python, pyspark, java, node, binary } as const

function resourceLines(environment: OlderEnvironment, memoryMiB: number): string {
  const lines: string[] = []
  for (const older of Object.keys(OLDER_NAMES) as readonly (keyof typeof OLDER_NAMES)[]) {
    const value = olderValue(older, environment[older] ?? '')
    if (value !== undefined) {
      lines.push(`  ${OLDER_NAMES[older]}: ${value}   # ${older}=${environment[older]}`)
    }
  }
  if (!lines.some(line => line.includes('memoryMiB'))) lines.unshift(`  memoryMiB: ${memoryMiB}`)
  return lines.join('\n')
}

/**
 * Writes a commented definition for a program.
 * @param environment - Where SGX_MEM_SIZE, SGX_THREAD, SGX_HEAP and SGX_KERNEL_HEAP may be set.
 */
export function writeDefinition(look: ProgramLook, environment: OlderEnvironment): string {
  const sections = WRITERS[look.kind](look)
  return `# yaml-language-server: $schema=${SCHEMA_FILE}
# What goes into the image and what it may do. Every word of it is measured.
#   cloister enclave lock    fixes every package by its SHA-256
#   cloister enclave build   makes, measures and signs the image
version: 1
name: ${look.name}

entry:
  program: ${JSON.stringify(sections.program)}
  # What a job may add, argument by argument; nothing unless it is listed.
  # arguments:
  #   - {pattern: "--rows=[0-9]{1,9}", optional: true}
  #   - {free: title of the report}

${sections.content}
environment:
  TZ: UTC
${sections.environment ?? ''}# Names that a job may set; it never changes one from above.
# environmentFromJob: [TITLE]

network: none
# network: {connect: [{host: db.example.org, port: 5432}]}

# Where the program finds its data as files, and leaves its results as files.
# mounts:
#   inputs: [{name: people, to: /data/people}]     # a verified dataset, as plaintext, read-only
#   outputs: [{name: result, to: /data/result}]    # sealed when the program ends well
#   scratch: [{to: /scratch, sizeMiB: 1024}]       # gone with the instance

resources:
${resourceLines(environment, sections.memoryMiB)}

identity:
  isvProdId: 1
  isvSvn: 1      # raise it with every release that mends a fault
`
}
