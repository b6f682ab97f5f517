import { readJobFile, statementOf } from '@cloister/engine/job'
import { jobTemplateDigest, jobTemplateOf, parseJobTemplate } from '@cloister/kms'
import type { Command } from 'commander'
import { stringify } from 'yaml'
import { collect } from '../collect.ts'
import { type GlobalFlags, Session } from '../session.ts'
import { UsageError } from '../usage-error.ts'

/** `cloister policy job-template`: a job as a template, to be widened by hand. */
export function addJobTemplateCommand(policy: Command): void {
  policy
    .command('job-template')
    .description(
      'print a job as a job template: it matches that job alone, until something may vary',
    )
    .argument('<job>', 'the job.yaml')
    .option('--any-version <input>', 'any version of this input; may be given again', collect)
    .option('--any-image', 'whichever images the policy admits')
    .addHelpText(
      'after',
      '\nExample:\n  cloister policy job-template job.yaml --any-version people > jobs.yaml',
    )
    .action(async (file: string, _flags, command: Command) => {
      const flags = command.optsWithGlobals<
        GlobalFlags & { anyVersion?: readonly string[]; anyImage?: true }
      >()
      const session = new Session(flags)
      const plain = jobTemplateOf(await statementOf(await readJobFile(file), await session.pin()))
      const free = flags.anyVersion ?? []
      const absent = free.find(name => !plain.inputs.some(input => input.name === name))
      if (absent !== undefined) {
        throw new UsageError(`the job has no input ${absent}`, 'name one of its inputs')
      }
      const template = parseJobTemplate({
        ...plain,
        ...(flags.anyImage === true ? { measurement: 'any' } : {}),
        inputs: plain.inputs.map(input =>
          free.includes(input.name) ? { ...input, version: 'any' } : input,
        ),
      })
      session.printer.result({ template, digest: jobTemplateDigest(template) }, () =>
        stringify(template),
      )
    })
}
