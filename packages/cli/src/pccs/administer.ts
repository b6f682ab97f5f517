import { writeFile } from 'node:fs/promises'
import type { Command } from 'commander'
import { Session } from '../session.ts'
import { type AdminFlags, adminFrom, withAdminOptions } from './admin.ts'
import { several } from './options.ts'
import { readPlatformLists } from './platform-lists.ts'

/** `cloister pccs register`, `platforms`, `refresh` and `status`. */
export function addAdminCommands(pccs: Command): void {
  withAdminOptions(
    pccs
      .command('register')
      .description('register platforms at a service, with its user token')
      .argument('<lists...>', 'platform_list.json, or CSV of Intel’s PCK id retrieval tool'),
  )
    .addHelpText('after', '\nExample:\n  cloister pccs register pckid_retrieval.csv')
    .action(async (lists: readonly string[], _flags, command: Command) => {
      const flags = command.optsWithGlobals<AdminFlags>()
      const session = new Session(flags)
      const client = await adminFrom(session, flags, 'user-token')
      const platforms = await readPlatformLists(lists)
      for (const platform of platforms) await client.register(platform)
      const registered = platforms.length
      session.printer.result({ registered }, () => `${registered} platforms registered`)
    })

  withAdminOptions(
    pccs
      .command('platforms')
      .description('write the platforms that wait, or that are known, as platform_list.json')
      .option('--out <file>', 'where to write them', 'platform_list.json')
      .option(
        '--source <source>',
        'reg: those that wait, handed out once; reg_na: those without certificates; [FMSPC,…]: known ones, [] all',
        'reg',
      ),
  )
    .addHelpText(
      'after',
      `
Examples:
  cloister pccs platforms --out platform_list.json
  cloister pccs platforms --source '[]' --out all.json`,
    )
    .action(async (_flags, command: Command) => {
      const flags = command.optsWithGlobals<AdminFlags & { out: string; source: string }>()
      const session = new Session(flags)
      const list = await (await adminFrom(session, flags)).platforms(flags.source)
      await writeFile(flags.out, `${JSON.stringify(list, null, 2)}\n`)
      const { length: platforms } = list
      session.printer.result({ platforms, file: flags.out }, () => `${platforms} in ${flags.out}`)
    })

  withAdminOptions(
    pccs
      .command('refresh')
      .description('have a service fetch what it keeps anew')
      .option('--certs', 'PCK certificates in place of what verifiers want')
      .option(
        '--fmspc <fmspc>',
        'with --certs: of these alone; may be given several times',
        several,
        [],
      ),
  )
    .addHelpText('after', '\nExample:\n  cloister pccs refresh\n  cloister pccs refresh --certs')
    .action(async (_flags, command: Command) => {
      const flags = command.optsWithGlobals<AdminFlags & RefreshFlags>()
      const session = new Session(flags)
      const client = await adminFrom(session, flags)
      await client.refresh(flags.certs === true ? { fmspcs: flags.fmspc } : undefined)
      session.printer.result({ refreshed: true }, () => 'fetched anew')
    })

  withAdminOptions(
    pccs
      .command('status')
      .description('how a service is doing: upstreams, documents, what ends first'),
  )
    .addHelpText('after', '\nExample:\n  cloister pccs status --json')
    .action(async (_flags, command: Command) => {
      const flags = command.optsWithGlobals<AdminFlags>()
      const session = new Session(flags)
      const status = await (await adminFrom(session, flags)).status()
      session.printer.result(status, () => linesOf(status).join('\n'))
    })
}

interface RefreshFlags {
  readonly certs?: true
  readonly fmspc: readonly string[]
}

const MOST_SHOWN = 10

/** Reads what a service of ours says; another's is shown as it came. */
function linesOf(status: unknown): readonly string[] {
  const { mode, platforms, queued, upstreams, documents }: Readonly<Record<string, unknown>> = {
    ...(status as object),
  }
  const members = (value: unknown) => Object.entries({ ...(value as object) })
  const list = (value: unknown) => (Array.isArray(value) ? (value as readonly unknown[]) : [])
  const { count, endingFirst } = Object.fromEntries(members(documents))
  return [
    `${String(mode)}: ${String(platforms)} platforms, ${String(queued)} waiting, ${String(count)} documents`,
    ...list(upstreams).map(one => {
      const { name, isHealthy, answers, failures, lastFailure } = Object.fromEntries(members(one))
      const last = lastFailure === undefined ? '' : `; last: ${String(lastFailure)}`
      const health = isHealthy === true ? 'well' : 'ILL'
      return `  ${String(name)}: ${health}, ${String(answers)} answers, ${String(failures)} failures${last}`
    }),
    ...list(endingFirst)
      .slice(0, MOST_SHOWN)
      .map(one => {
        const { name, endsAt, stale } = Object.fromEntries(members(one))
        return `  ${String(name)} until ${String(endsAt)}${stale === true ? ' (STALE)' : ''}`
      }),
  ]
}
