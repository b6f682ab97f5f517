#!/usr/bin/env node
import { COMMANDS_BUNDLE, freshBundle, RUN_BUNDLE } from './start/bundle.ts'
import { commandIn, isBundled } from './start/command-in.ts'

// Hundreds of modules take longer to load than most commands take to do their work. A process loads
// either bundles or modules: of two copies of a class, neither knows the other's instances.
const isRun =
  isBundled(commandIn(process.argv)) && !/ --on[ =]k8s( |$)/.test(process.argv.join(' '))
const bundle = freshBundle(isRun ? RUN_BUNDLE : COMMANDS_BUNDLE)
await (bundle === undefined ? import('./start/any-command.ts') : import(bundle.href))
