import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import {
  definitionJsonSchema,
  lookAtProgram,
  SCHEMA_FILE,
  TEMPLATES,
  type TemplateName,
  writeDefinition,
} from '@cloister/enclave'
import { type Command, Option } from 'commander'
import { type GlobalFlags, Session } from '../session.ts'
import { UsageError } from '../usage-error.ts'

interface Flags extends GlobalFlags {
  readonly template?: TemplateName
}

async function writeOnce(path: string, text: string): Promise<boolean> {
  try {
    await writeFile(path, text, { flag: 'wx' })
    return true
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'EEXIST') return false
    throw error
  }
}

/** `cloister enclave init`: a commented definition for a program. */
export function addInitCommand(enclave: Command): void {
  enclave
    .command('init')
    .description('write a commented enclave.yaml after looking at a program; nothing of it is run')
    .argument('[program]', 'a folder or a program', '.')
    .addOption(
      new Option('--template <kind>', 'what kind of program it is').choices([...TEMPLATES]),
    )
    .addHelpText(
      'after',
      `
Where SGX_MEM_SIZE, SGX_THREAD, SGX_HEAP or SGX_KERNEL_HEAP are set, they are written down.

Examples:
  cloister enclave init
  cloister enclave init jobs/regression.py
  cloister enclave init --template pyspark jobs`,
    )
    .action(async (path: string, _flags, command: Command) => {
      const flags = command.optsWithGlobals<Flags>()
      const session = new Session(flags)
      const look = await lookAtProgram(path, flags.template)
      const file = join(look.folder, 'enclave.yaml')
      if (!(await writeOnce(file, writeDefinition(look, process.env)))) {
        throw new UsageError(`${file} is there already`, 'remove it, or edit it')
      }
      const schema = `${JSON.stringify(definitionJsonSchema(), null, 2)}\n`
      await writeOnce(join(look.folder, SCHEMA_FILE), schema)
      session.printer.result({ file, template: look.kind, main: look.main ?? null }, () =>
        [
          `${file}, for a program of the kind ${look.kind}${look.main === undefined ? '' : `, ${look.main}`}`,
          'read it, then: cloister enclave lock',
        ].join('\n'),
      )
    })
}
