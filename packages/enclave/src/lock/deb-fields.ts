import { toolOutput } from './tool.ts'

/** What a Debian package says that it is. */
export interface DebFields {
  readonly name: string
  readonly version: string
  readonly architecture: string
}

const FORMAT = ['Package', 'Version', 'Architecture'].map(field => `\${${field}}\\n`).join('')

/** Reads a package's control file. @throws LockError TOOL */
export async function debFields(path: string): Promise<DebFields> {
  const args = ['--show', '--showformat', FORMAT, path]
  const output = await toolOutput('dpkg-deb', args, { package: 'dpkg' })
  const [name = '', version = '', architecture = ''] = output.trim().split('\n')
  return { name, version, architecture }
}
