/** Where a launcher listens that gave no descriptors, and what tells it that it is its instance. */
export interface LauncherAddress {
  /** Of the loopback interface, which others on the machine reach too. */
  readonly port: number
  /** 32 hexadecimal digits. Of use to nobody once the instance runs. */
  readonly secret: string
}

const ADDRESS = /^([1-9][0-9]{0,4}) ([0-9a-f]{32})$/

/** An address as it is written down for an instance. */
export function launcherAddress({ port, secret }: LauncherAddress): string {
  return `${port} ${secret}`
}

/** Reads an address; undefined for anything else. */
export function parseLauncherAddress(text: string): LauncherAddress | undefined {
  const [, port = '', secret = ''] = ADDRESS.exec(text) ?? []
  return port === '' || Number(port) > 0xffff ? undefined : { port: Number(port), secret }
}
