import type { ServerResponse } from 'node:http'

interface Log {
  readonly lines: string[]
  readonly readers: Set<ServerResponse>
  hasEnded: boolean
}

/** Logs of pods, as a kubelet serves them: from an instant on, and as they grow. */
export class PodLogs {
  readonly #logs = new Map<string, Log>()

  /** A line, as the kubelet stamps it. */
  log(pod: string, at: string, text: string): void {
    const log = this.#logOf(pod)
    const line = `${at} ${text}\n`
    log.lines.push(line)
    for (const reader of log.readers) reader.write(line)
  }

  /** The container has ended. */
  end(pod: string): void {
    const log = this.#logOf(pod)
    log.hasEnded = true
    for (const reader of log.readers) reader.end()
  }

  /** The pod is gone, and with it its log: there may be another of its name. */
  forget(pod: string): void {
    this.#logs.delete(pod)
  }

  /** Ends all that is followed, as a proxy between does. */
  drop(): void {
    for (const { readers } of this.#logs.values()) {
      for (const response of readers) response.destroy()
      readers.clear()
    }
  }

  serve(pod: string, query: URLSearchParams, response: ServerResponse): void {
    const log = this.#logOf(pod)
    response.writeHead(200, { 'content-type': 'text/plain' })
    response.flushHeaders()
    const since = Date.parse(query.get('sinceTime') ?? '1970-01-01T00:00:00Z')
    for (const line of log.lines) {
      if (Date.parse(line.slice(0, line.indexOf(' '))) >= since) response.write(line)
    }
    if (log.hasEnded || query.get('follow') !== 'true') {
      response.end()
      return
    }
    log.readers.add(response)
    response.once('close', () => log.readers.delete(response))
  }

  #logOf(pod: string): Log {
    const log = this.#logs.get(pod) ?? { lines: [], readers: new Set(), hasEnded: false }
    this.#logs.set(pod, log)
    return log
  }
}
