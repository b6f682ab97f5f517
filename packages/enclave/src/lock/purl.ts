import { PackageURL } from 'packageurl-js'

type Qualifiers = Readonly<Record<string, string>>

function purl(
  type: string,
  namespace: string | undefined,
  name: string,
  version: string,
  qualifiers?: Qualifiers,
): string {
  return new PackageURL(type, namespace, name, version, qualifiers, undefined).toString()
}

/** Package URL of a Debian package. @see purl-spec, types: deb */
export function debPurl(name: string, version: string, architecture: string): string {
  return purl('deb', 'debian', name, version, { arch: architecture })
}

/** Package URL of a Python project. @see purl-spec, types: pypi */
export function pypiPurl(name: string, version: string): string {
  return purl('pypi', undefined, name, version)
}

/** Package URL of an npm package. @see purl-spec, types: npm */
export function npmPurl(name: string, version: string): string {
  const slash = name.lastIndexOf('/')
  const scope = slash === -1 ? undefined : name.slice(0, slash)
  return purl('npm', scope, name.slice(slash + 1), version)
}

/** Package URL of a Maven artifact. @see purl-spec, types: maven */
export function mavenPurl(group: string, artifact: string, version: string): string {
  return purl('maven', group, artifact, version)
}
