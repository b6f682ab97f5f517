// First: see the module.
import './signals.ts'
import { begin } from './begin.ts'

await begin()
