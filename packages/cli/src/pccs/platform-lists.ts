import { readInputText } from '../attest/input-file.ts'
import { UsageError } from '../usage-error.ts'

/** Columns of what Intel's PCK id retrieval tool writes. @see Intel PCCS administration tool, `collect` */
const COLUMNS = ['enc_ppid', 'pce_id', 'cpu_svn', 'pce_svn', 'qe_id', 'platform_manifest'] as const

/** Platforms from `platform_list.json` and from CSV files. @throws UsageError */
export async function readPlatformLists(files: readonly string[]): Promise<readonly object[]> {
  const platforms: object[] = []
  for (const file of files) {
    const text = (await readInputText(file)).trim()
    platforms.push(...(text.startsWith('[') ? fromJson(file, text) : fromCsv(file, text)))
  }
  return platforms
}

function fromJson(file: string, text: string): readonly object[] {
  try {
    const list: unknown = JSON.parse(text)
    if (Array.isArray(list) && list.every(one => typeof one === 'object' && one !== null)) {
      return list
    }
  } catch (cause) {
    if (!(cause instanceof SyntaxError)) throw cause
  }
  throw noList(file)
}

function fromCsv(file: string, text: string): readonly object[] {
  const rows = text.split(/\r?\n/).filter(line => line !== '' && !/^EncryptedPPID/i.test(line))
  if (rows.length === 0) throw noList(file)
  return rows.map(row => {
    const values = row.split(',').map(value => value.trim())
    const isRow = values.length >= COLUMNS.length - 1 && values.length <= COLUMNS.length
    if (!isRow || !values.every(value => /^[0-9a-fA-F]*$/.test(value))) throw noList(file)
    return Object.fromEntries(COLUMNS.map((column, index) => [column, values[index] ?? '']))
  })
}

function noList(file: string): UsageError {
  return new UsageError(
    `${file} is no list of platforms`,
    'give platform_list.json, or the CSV of Intel’s PCK id retrieval tool',
  )
}
