import { World } from './flow.test.support.ts'
import { onPostgresToo } from './store/backends.test.fixture.ts'

onPostgresToo(
  backend => {
    World.backend = backend
  },
  () => import('./attested-only.test.ts'),
)
