#!/usr/bin/env node
// Stands here before anything is built, so that `npm ci` in a clone can link it.
import '../dist/main.js'
