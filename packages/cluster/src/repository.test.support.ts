import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

/** The repository's root. */
export const REPOSITORY = fileURLToPath(new URL('../../../', import.meta.url))

/** The command as a user starts it. */
export const CLOISTER = join(REPOSITORY, 'packages/cli/bin/cloister.js')

/** Where `.ci/install` puts what tests run against. */
export const TOOLS =
  process.env['CLOISTER_TOOLS'] ?? join(REPOSITORY, 'node_modules/.cache/cloister-tools')

/** Where `.ci/install` puts Helm; undefined where it is not. */
export const HELM = [process.env['CLOISTER_HELM'], join(TOOLS, 'helm/helm/helm')].find(
  path => path !== undefined && existsSync(path),
)

/** What stands beside it. */
export const KUBECTL = join(TOOLS, 'helm/kubectl/kubectl')

/** What a test's title says where Helm is not installed. */
export const HELM_MISSING = HELM === undefined ? ' (skipped: Helm is not installed here)' : ''

/** Kubernetes' schemas, which are read where they are. */
export const KUBERNETES_VECTORS = join(
  process.env['CLOISTER_VECTORS'] ?? join(REPOSITORY, '../shared/vectors'),
  'kubernetes',
)

/** Whether they are there. */
export const HAS_VECTORS = existsSync(KUBERNETES_VECTORS)

/** What a test's title says where they are not. */
export const VECTORS_MISSING = HAS_VECTORS
  ? ''
  : ` (SKIPPED: no folder ${KUBERNETES_VECTORS}; set CLOISTER_VECTORS)`

/** The YAML on docs/kubernetes.md. */
export async function pageBlocks(): Promise<readonly string[]> {
  const page = await readFile(join(REPOSITORY, 'docs/kubernetes.md'), 'utf8')
  return [...page.matchAll(/```yaml\n([\s\S]*?)```/g)].map(([, text = '']) => text)
}
