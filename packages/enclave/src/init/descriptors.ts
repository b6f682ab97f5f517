import { closeSync, readdirSync, readFileSync } from 'node:fs'
import { STATUS_FD } from '../instance/layout.ts'

/** O_CLOEXEC on Linux (include/uapi/asm-generic/fcntl.h); in octal, as the kernel shows it. */
const CLOSE_ON_EXEC = 0o2_000_000

/**
 * Closes what the launcher inherited from whoever started it and did not mean to hand on. Node marks
 * its own descriptors to be closed when a program starts; what is not marked is somebody else's.
 */
export function closeForeignDescriptors(): void {
  for (const fd of openDescriptors()) {
    if (fd > STATUS_FD && (flagsOf(fd) & CLOSE_ON_EXEC) === 0) close(fd)
  }
}

function openDescriptors(): readonly number[] {
  try {
    return readdirSync('/proc/self/fd').map(Number)
  } catch {
    // No system of which anything could be said.
    return []
  }
}

/** Flags of a descriptor; of one that was closed meanwhile such as leave it alone. */
function flagsOf(fd: number): number {
  try {
    const info = readFileSync(`/proc/self/fdinfo/${fd}`, 'latin1')
    return Number.parseInt(/^flags:\s*([0-7]+)$/m.exec(info)?.[1] ?? '', 8)
  } catch {
    return CLOSE_ON_EXEC
  }
}

function close(fd: number): void {
  try {
    closeSync(fd)
  } catch {
    // It was closed meanwhile.
  }
}
