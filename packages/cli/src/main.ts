#!/usr/bin/env node
import { freshBundle } from './start/bundle.ts'
import { commandIn, isBundled } from './start/command-in.ts'

// Hundreds of modules take longer to load than a program to be verified, attested and started.
const isHere =
  isBundled(commandIn(process.argv)) && !/ --on[ =]k8s( |$)/.test(process.argv.join(' '))
const bundle = isHere ? freshBundle() : undefined
await (bundle === undefined ? import('./start/any-command.ts') : import(bundle.href))
