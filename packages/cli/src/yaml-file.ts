import { type Document, LineCounter, parseDocument, visit } from 'yaml'
import { readInputText } from './attest/input-file.ts'
import { UsageError } from './usage-error.ts'

/** A YAML file that was read: what it says, and where a path in it stands. */
export interface YamlFile {
  readonly value: unknown
  /** `file:line:column` of the deepest node that a path such as `enclaves[0].mrSigner` leads to. */
  at(path: string): string
}

/** Reads a file of YAML 1.2, or of JSON. @throws UsageError naming line and column */
export async function readYamlFile(file: string, nextStep: string): Promise<YamlFile> {
  const lines = new LineCounter()
  const text = await readInputText(file)
  const document = parseDocument(text, { lineCounter: lines, uniqueKeys: true, version: '1.2' })
  const at = (offset: number) => {
    const { line, col } = lines.linePos(offset)
    return `${file}:${line}:${col}`
  }
  const [broken] = document.errors
  if (broken !== undefined) {
    const [problem = ''] = broken.message.split('\n')
    throw new UsageError(`${at(broken.pos[0])}: ${problem}`, nextStep)
  }
  const odd = oddityOf(document)
  if (odd !== undefined) throw new UsageError(`${at(odd.offset)}: ${odd.problem}`, nextStep)
  return {
    value: document.toJS({ maxAliasCount: 0 }),
    at: path => at(offsetOf(document, path)),
  }
}

/**
 * What YAML allows and no file of ours does, as it would say something else than it seems to: another
 * version, of which `yes` is true and `<<` takes members from elsewhere; and aliases.
 */
function oddityOf(
  document: Document.Parsed,
): { readonly offset: number; readonly problem: string } | undefined {
  const { version } = document.directives.yaml
  if (version !== '1.2') return { offset: 0, problem: `wanted YAML 1.2, saw ${version}` }
  let offset: number | undefined
  visit(document, {
    Alias: (_key, { range }) => {
      offset = range?.[0] ?? 0
      return visit.BREAK
    },
  })
  return offset === undefined
    ? undefined
    : { offset, problem: 'wanted a value, saw an alias: write it out' }
}

function offsetOf(document: Document, path: string): number {
  const steps = path.split(/[./[\]]+/).filter(step => step !== '')
  for (let depth = steps.length; depth > 0; depth--) {
    const node: unknown = document.getIn(steps.slice(0, depth), true)
    if (hasRange(node)) return node.range[0]
  }
  return document.contents?.range?.[0] ?? 0
}

function hasRange(node: unknown): node is { readonly range: readonly [number, number, number] } {
  return typeof node === 'object' && node !== null && 'range' in node && Array.isArray(node.range)
}
