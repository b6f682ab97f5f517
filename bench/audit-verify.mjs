/** Verifies an exported audit log, as a process of its own: prints milliseconds and peak memory. */
import { createReadStream } from 'node:fs'
import { text } from 'node:stream/consumers'
import { verifyLogExport } from '@cloister/kms'

const { file, pin } = JSON.parse(await text(process.stdin))
const begun = performance.now()
const { size, verdict } = await verifyLogExport(createReadStream(file), { pin })
const milliseconds = performance.now() - begun
const peakMiB = process.resourceUsage().maxRSS / 1024
process.stdout.write(JSON.stringify({ verdict, size, milliseconds, peakMiB }))
