import { examineImage } from '@cloister/enclave'
import type { Command } from 'commander'
import { table } from '../output/table.ts'
import { type GlobalFlags, Session } from '../session.ts'
import { Profiles } from './profiles.ts'

/** `cloister enclave doctor`: what an image will miss, before it runs. */
export function addImageDoctorCommand(enclave: Command): void {
  enclave
    .command('doctor')
    .description('say what an image will miss on this machine, before it runs')
    .argument('<image>', 'the image')
    .addHelpText('after', '\nExample:\n  cloister enclave doctor reports.image')
    .action(async (folder: string, _flags, command: Command) => {
      const session = new Session(command.optsWithGlobals<GlobalFlags>())
      const profiles = new Profiles(session.home)
      const findings = await examineImage(
        folder,
        async measurement => (await profiles.find(measurement))?.profile,
      )
      session.printer.result(findings, () =>
        table(
          ['', '', ''],
          findings.map(({ what, state, detail }) => [what, state, detail]),
        ),
      )
      if (findings.some(({ state }) => state === 'missing')) process.exitCode = 1
    })
}
