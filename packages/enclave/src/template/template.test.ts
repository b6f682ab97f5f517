import { copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { parseDefinition } from '../definition/parse.ts'
import { resourcesOf } from '../definition/resources.ts'
import { lookAtProgram, TEMPLATES } from './look.ts'
import { writeDefinition } from './write.ts'

let home: string
beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), 'cloister-template-'))
})
afterEach(() => rmSync(home, { recursive: true, force: true }))

const put = (name: string, text: string) => writeFileSync(join(home, name), text)

describe('lookAtProgram', () => {
  type Case = readonly [string, Readonly<Record<string, string>>, object]
  const folders: readonly Case[] = [
    ['a Python program', { 'main.py': '', 'util.py': '' }, { kind: 'python', main: 'main.py' }],
    [
      'one with requirements',
      { 'requirements.txt': 'numpy\n', 'x.py': '' },
      { kind: 'python', main: 'x.py', requirements: 'requirements.txt' },
    ],
    [
      'one that imports pyspark',
      { 'job.py': 'from pyspark.sql import SparkSession\n' },
      { kind: 'pyspark', main: 'job.py' },
    ],
    [
      'one that requires pyspark',
      { 'requirements.txt': 'pyspark==3.5.3\n', 'a.py': '' },
      { kind: 'pyspark' },
    ],
    [
      'a Node program',
      { 'package.json': '{"main": "./lib/start.js"}', 'package-lock.json': '{}' },
      { kind: 'node', main: 'lib/start.js', lockfile: 'package-lock.json' },
    ],
    [
      'a Java program',
      { 'pom.xml': '<project/>', 'app.jar': 'x' },
      { kind: 'java', main: 'app.jar', pom: 'pom.xml' },
    ],
    ['a shell script', { run: '#!/bin/sh\necho\n' }, { kind: 'binary', main: 'run', shell: 'sh' }],
    ['nothing', {}, { kind: 'binary', main: undefined }],
  ]
  for (const [what, files, wanted] of folders) {
    it(`knows ${what}`, async () => {
      for (const [name, text] of Object.entries(files)) put(name, text)
      expect(await lookAtProgram(home)).toMatchObject({ folder: home, ...wanted })
    })
  }

  it('knows a single program by its first line, its kind of file, or its name', async () => {
    put('tool', '#!/usr/bin/env -S python3 -u\n')
    expect(await lookAtProgram(join(home, 'tool'))).toMatchObject({ kind: 'python', name: 'tool' })
    copyFileSync('/bin/true', join(home, 'My_Program'))
    expect(await lookAtProgram(join(home, 'My_Program'))).toMatchObject({
      ...{ kind: 'binary', name: 'my-program', main: 'My_Program', libraries: ['libc.so.6'] },
    })
    put('x.mjs', '')
    expect((await lookAtProgram(join(home, 'x.mjs'))).kind).toBe('node')
    await expect(lookAtProgram(join(home, 'nosuch'))).rejects.toMatchObject({ code: 'ENOENT' })
  })
})

describe('writeDefinition', () => {
  it('writes what can be read, for every template', async () => {
    put('main.py', '')
    put('package.json', '{}')
    mkdirSync(join(home, 'Ünusual name!'))
    for (const folder of [home, join(home, 'Ünusual name!')]) {
      for (const template of TEMPLATES) {
        const text = writeDefinition(await lookAtProgram(folder, template), {})
        expect(text).toMatch(/^# yaml-language-server: \$schema=enclave\.schema\.json\n/)
        const definition = parseDefinition(text)
        expect(definition.entry.init).toBeUndefined()
        expect(definition.network).toBe('none')
        expect(definition.identity.debug).toBeUndefined()
      }
    }
  })

  it('writes down what the environment of the older scripts says', async () => {
    put('main.py', '')
    const environment = {
      SGX_MEM_SIZE: '32G',
      SGX_THREAD: '512',
      SGX_HEAP: '512MB',
      SGX_KERNEL_HEAP: '1GB',
    }
    const { resources } = parseDefinition(writeDefinition(await lookAtProgram(home), environment))
    expect(resourcesOf(resources)).toEqual({
      ...{ memoryMiB: 32_768, threads: 512, heapMiB: 512, kernelHeapMiB: 1024 },
    })
    const text = writeDefinition(await lookAtProgram(home), { SGX_MEM_SIZE: 'a lot\nname: evil' })
    expect(parseDefinition(text).resources).toEqual({ memoryMiB: 2048 })
  })
})
