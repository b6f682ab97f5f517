/** A Python project's name in the form that names are compared in. @see PEP 503 */
export function normalizedProject(name: string): string {
  return name.replaceAll(/[-_.]+/g, '-').toLowerCase()
}
