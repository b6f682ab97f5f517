import { dirname, join } from 'node:path'

/** A folder of the cgroup file system in which groups for instances may be made. */
export interface GroupPlace {
  readonly version: 1 | 2
  /** Controllers that the folder's hierarchy has; of version 2 that is for its files to say. */
  readonly controllers: readonly string[]
  /** This process's own group, then the groups around it. */
  readonly folders: readonly string[]
}

/** Octal escapes of mountinfo. @see proc(5) */
function unescaped(text: string): string {
  return text.replaceAll(/\\(\d{3})/g, (_, octal: string) =>
    String.fromCharCode(Number.parseInt(octal, 8)),
  )
}

/** The hierarchies that are mounted, with the group that each is mounted from. */
function hierarchies(mountinfo: string) {
  return mountinfo.split('\n').flatMap(line => {
    const [front = '', back = ''] = line.split(' - ')
    const [, , , root, mountPoint] = front.split(' ')
    const [type, , options = ''] = back.split(' ')
    if (root === undefined || mountPoint === undefined) return []
    if (type !== 'cgroup' && type !== 'cgroup2') return []
    const version = type === 'cgroup2' ? (2 as const) : (1 as const)
    return { version, root: unescaped(root), mountPoint: unescaped(mountPoint), options }
  })
}

function upwards(mountPoint: string, own: string): readonly string[] {
  const folders: string[] = []
  for (let folder = own.replace(/\/$/, ''); ; folder = dirname(folder)) {
    folders.push(folder)
    if (folder === mountPoint || folder === '/') return folders
  }
}

/**
 * Where groups may be made, by what the kernel says of this process.
 * @param membership - `/proc/self/cgroup`
 * @param mountinfo - `/proc/self/mountinfo`
 */
export function groupPlaces(membership: string, mountinfo: string): readonly GroupPlace[] {
  const mounted = hierarchies(mountinfo)
  return membership.split('\n').flatMap(line => {
    const [number, names = '', ...rest] = line.split(':')
    const group = rest.join(':')
    if (number === undefined || !group.startsWith('/')) return []
    const controllers = names === '' ? [] : names.split(',')
    const found = mounted.find(({ version, options }) =>
      names === ''
        ? version === 2
        : version === 1 && controllers.every(name => options.split(',').includes(name)),
    )
    if (found === undefined) return []
    const { version, root, mountPoint } = found
    const inside = root !== '/' && group.startsWith(root) ? group.slice(root.length) : group
    return { version, controllers, folders: upwards(mountPoint, join(mountPoint, inside)) }
  })
}
