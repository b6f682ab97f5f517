import { createProgram } from '../program.ts'
import { perform } from './perform.ts'

await perform(argv => createProgram(argv))
