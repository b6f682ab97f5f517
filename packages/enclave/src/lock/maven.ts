import { readdir, readFile } from 'node:fs/promises'
import { join, relative } from 'node:path'
import type { Store } from '../store/store.ts'
import { LockError } from './errors.ts'
import type { ArtefactOf } from './format.ts'
import { mavenPurl } from './purl.ts'
import { toolOutput } from './tool.ts'

/** The plugin that lays out what a pom needs, by its version: another may do otherwise. */
const PLUGIN = 'org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies'

/** Versions that mean another file tomorrow. */
const FLOATING = /<version>\s*(?:[[(][^<]*|LATEST|RELEASE|[^<]*-SNAPSHOT)\s*<\/version>/

/**
 * Fetches the jars that a pom needs to run, and what these need, by Maven itself and its settings.
 * @param pom - Path of a pom whose dependencies have exact versions.
 * @throws LockError REQUIREMENTS, TOOL, DOWNLOAD
 */
export async function fetchJars(pom: string, store: Store): Promise<readonly ArtefactOf<'jar'>[]> {
  const text = await readFile(pom, 'utf8').catch((cause: unknown) => {
    throw new LockError('REQUIREMENTS', `cannot read ${pom}`, { cause })
  })
  const floating = FLOATING.exec(text)?.[0]
  if (floating !== undefined) {
    throw new LockError('REQUIREMENTS', `${pom}: wanted an exact version, seen ${floating}`)
  }
  return await store.withTemporaryFolder(async folder => {
    await toolOutput(
      'mvn',
      [
        ...['--batch-mode', '--quiet', '--strict-checksums', '--file', pom, PLUGIN],
        ...[`-DoutputDirectory=${folder}`, '-DincludeScope=runtime'],
        ...['-Dmdep.useRepositoryLayout=true', '-Dmdep.copyPom=false'],
      ],
      { package: 'maven' },
    )
    const names = await readdir(folder, { recursive: true, encoding: 'utf8' })
    const jars: ArtefactOf<'jar'>[] = []
    for (const name of names.filter(path => path.endsWith('.jar')).sort()) {
      jars.push(await taken(relative(folder, join(folder, name)), folder, store))
    }
    return jars
  })
}

/** A repository's layout is group, in folders, then artifact, version and file. */
async function taken(path: string, folder: string, store: Store): Promise<ArtefactOf<'jar'>> {
  const steps = path.split('/')
  const [file = '', version = '', artifact = ''] = steps.slice(-3).reverse()
  const group = steps.slice(0, -3).join('.')
  if (group === '' || version.endsWith('-SNAPSHOT')) {
    throw new LockError('REQUIREMENTS', `${path} has no exact version`)
  }
  const { size, sha256 } = await store.putFile(join(folder, path))
  const name = `${group}:${artifact}`
  return {
    kind: 'jar',
    name,
    version,
    purl: mavenPurl(group, artifact, version),
    size,
    sha256,
    file,
  }
}
