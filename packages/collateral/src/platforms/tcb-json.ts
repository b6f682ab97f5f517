/** A TCB as answers have it: a list since version 4 of the interface, a member each before. */
export function tcbJson(components: readonly number[], pcesvn: number, api: 3 | 4): object {
  if (api === 4) return { sgxtcbcomponents: components.map(svn => ({ svn })), pcesvn }
  const member = (index: number) => `sgxtcbcomp${String(index + 1).padStart(2, '0')}svn`
  return { ...Object.fromEntries(components.map((svn, index) => [member(index), svn])), pcesvn }
}
