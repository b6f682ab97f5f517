/** Opens a sealed file in a way that is named, and prints the most memory it took, in KiB. */
import { spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { text } from 'node:stream/consumers'
import { Dek, openSealedFile } from '@cloister/sealed'

const { path, dek, way } = JSON.parse(await text(process.stdin))
const file = await openSealedFile(path, Dek.from(Buffer.from(dek, 'hex')))
let bytes = 0
if (way === 'stream') {
  for await (const piece of file.stream()) bytes += piece.length
} else {
  const cat = spawn('sh', ['-c', 'cat > /dev/null'], { stdio: ['pipe', 'ignore', 'inherit'] })
  for await (const piece of file.stream()) {
    bytes += piece.length
    if (!cat.stdin.write(piece)) await new Promise(resolve => cat.stdin.once('drain', resolve))
  }
  cat.stdin.end()
}
if (bytes !== file.plaintextSize) throw new Error(`opened ${bytes} bytes`)
await file.close()
const [, peak] = /VmHWM:\s+(\d+) kB/.exec(readFileSync('/proc/self/status', 'utf8'))
process.stdout.write(peak)
