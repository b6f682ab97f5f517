#!/usr/bin/env node
import { freshBundle } from './start/bundle.ts'
import { commandIn, isBundled } from './start/command-in.ts'

// Hundreds of modules take longer to load than a program to be verified, attested and started.
const bundle = isBundled(commandIn(process.argv)) ? freshBundle() : undefined
await (bundle === undefined ? import('./start/any-command.ts') : import(bundle.href))
