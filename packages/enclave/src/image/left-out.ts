import { matching, type PathFilter } from './globs.ts'

/**
 * What of Debian packages never goes into an image unless `debian.keep` names it: what people read,
 * what compilers read, what starts services. Copyright files are kept apart from this.
 */
export const LEFT_OUT_OF_DEBS: readonly string[] = [
  '/usr/share/{doc,doc-base,man,info,help,locale,lintian,linda,bug,menu,omf,gtk-doc}/**',
  '/usr/share/{bash-completion,zsh,fish,applications,pixmaps,icons,apport,reportbug}/**',
  '/usr/share/{aclocal,pkgconfig,gdb,polkit-1,debhelper}/**',
  '/usr/include/**',
  '/usr/lib/debug/**',
  '/usr/lib/**/pkgconfig/**',
  '/usr/lib/**/cmake/**',
  '/usr/lib/**/*.a',
  '/usr/lib/**/*.la',
  '/usr/lib/{systemd,udev,tmpfiles.d,sysusers.d,modprobe.d,init}/**',
  '/etc/{init.d,cron.d,cron.daily,cron.weekly,cron.monthly,logrotate.d,apparmor.d}/**',
  '/etc/{bash_completion.d,update-motd.d,default,rc.d}/**',
  '/var/{cache,log,backups,mail,spool}/**',
  '/var/lib/{dpkg,apt}/**',
  '/usr/lib/python3*/{test,idlelib,turtledemo,ensurepip}/**',
  '/usr/lib/python3*/**/{test,tests}/**',
].flatMap(expandBraces)

/** What of wheels never goes into an image unless `python.keep` names it. */
export const LEFT_OUT_OF_WHEELS: readonly string[] = [
  '**/__pycache__/**',
  '**/tests/**',
  '**/*.pyi',
  '**/*.pxd',
  '**/*.pyx',
]

/** What of npm packages never goes into an image unless `npm.keep` names it. */
export const LEFT_OUT_OF_NPM: readonly string[] = [
  '**/*.d.ts',
  '**/*.d.mts',
  '**/*.d.cts',
  '**/*.map',
  '**/*.tsbuildinfo',
  '**/{README,readme,CHANGELOG,changelog,HISTORY,History}.md',
  '**/__tests__/**',
].flatMap(expandBraces)

function expandBraces(glob: string): readonly string[] {
  const [, before = '', choices, after = ''] = /^(.*?)\{([^}]*)\}(.*)$/.exec(glob) ?? []
  if (choices === undefined) return [glob]
  return choices.split(',').flatMap(choice => expandBraces(`${before}${choice}${after}`))
}

/** What a definition says about a kind of package. */
export interface Choice {
  readonly keep?: readonly string[] | undefined
  readonly drop?: readonly string[] | undefined
}

/** Whether a path is left out: dropped by the definition, or by rule unless the definition keeps it. */
export function leftOut(rule: readonly string[], { keep = [], drop = [] }: Choice): PathFilter {
  const [byRule, kept, dropped] = [matching(rule), matching(keep), matching(drop)]
  return path => dropped(path) || (byRule(path) && !kept(path))
}
