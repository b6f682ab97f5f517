import { UsageError } from './usage-error.ts'

/** What a PKCS#11 URI names. */
export interface Pkcs11Uri<Named extends string> {
  readonly named: Readonly<Record<Named, string>>
  readonly modulePath: string
  readonly pinFile: string
}

/**
 * Reads a PKCS#11 URI: of its attributes, exactly those of `names`, and where module and PIN are.
 * @param flag - The flag it was given by, for messages.
 * @param nextStep - Where to read about it.
 * @throws UsageError
 * @see RFC 7512, section 2.3
 */
export function parsePkcs11Uri<Named extends string>(
  flag: string,
  uri: string,
  names: readonly Named[],
  nextStep: string,
): Pkcs11Uri<Named> {
  const refused = (why: string, cause?: unknown) =>
    new UsageError(`${flag}: ${why}`, nextStep, { cause })
  const attributesOf = (text: string, separator: string) => {
    const attributes = new Map<string, string>()
    for (const attribute of text.split(separator)) {
      const [name = '', value] = attribute.split('=', 2)
      if (value === undefined || attributes.has(name)) {
        throw refused(`wanted name=value, each name once; saw "${name}"`)
      }
      try {
        attributes.set(name, decodeURIComponent(value))
      } catch (cause) {
        throw refused(`the value of ${name} is not percent-encoded`, cause)
      }
    }
    return attributes
  }
  if (!uri.startsWith('pkcs11:')) throw refused('wanted a URI that begins with pkcs11:')
  const [path = '', query = ''] = uri.slice('pkcs11:'.length).split('?', 2)
  const given = attributesOf(path, ';')
  const how = attributesOf(query, '&')
  // The URI is an argument, which every process of the machine can read.
  if (how.has('pin-value')) throw refused('a PIN is no argument: wanted pin-source=FILE')
  const named = names.flatMap(name => {
    const value = given.get(name)
    return value ? [[name, value] as const] : []
  })
  const modulePath = how.get('module-path')
  const pinFile = how.get('pin-source')?.replace(/^file:/, '')
  const isWhole = named.length === names.length && given.size === names.length && how.size === 2
  if (!isWhole || !modulePath || !pinFile) {
    const list = names.join(' and ')
    throw refused(`wanted ${list}, and after the ?, module-path and pin-source, and no more`)
  }
  return { named: Object.fromEntries(named) as Record<Named, string>, modulePath, pinFile }
}
