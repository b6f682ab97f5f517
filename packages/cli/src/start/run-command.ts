import { addContainedCommand } from '../commands/contained.ts'
import { addRunCommand } from '../commands/run.ts'
import { programOf } from '../program-of.ts'
import { perform } from './perform.ts'

// What `cloister run` consists of, in a container too: the bundle is made of this module.
await perform(async argv => programOf([addRunCommand, addContainedCommand], argv))
