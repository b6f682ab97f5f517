const UNITS: Readonly<Record<string, number>> = {
  K: 1024,
  M: 1024 ** 2,
  G: 1024 ** 3,
  T: 1024 ** 4,
}

/**
 * A size as Occlum and the older scripts write it, `20GB`, `512MB`, `1G`, in whole MiB, rounded up.
 * @returns undefined for anything else
 * @see Occlum's documentation of Occlum.json, resource_limits: units of 1024
 */
export function sizeInMiB(text: string): number | undefined {
  const [, digits, unit] = /^\s*([0-9]{1,12})\s*([KMGT])?i?B?\s*$/i.exec(text) ?? []
  if (digits === undefined) return undefined
  const bytes = Number(digits) * (unit === undefined ? 1 : (UNITS[unit.toUpperCase()] ?? 1))
  const mebibytes = Math.ceil(bytes / 1024 ** 2)
  return mebibytes >= 1 && mebibytes <= 16_777_216 ? mebibytes : undefined
}
