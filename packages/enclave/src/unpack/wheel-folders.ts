/** Folders of an unpacked wheel: modules, commands, and what goes below the installation's prefix. */
export const WHEEL_FOLDERS = { site: 'site', bin: 'bin', data: 'data' } as const
