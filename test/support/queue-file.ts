// Writes a file into the outbound queue of an install, as Haraka does, with the note that the plugin adds.
import { writeFileSync } from 'node:fs'
import path from 'node:path'

export interface QueueFile {
  readonly domain: string
  /** `smtp://host:port`; none: the domain's MX hosts. */
  readonly hops: readonly string[]
  /** Local parts; default one */
  readonly to?: readonly string[]
  readonly attempts?: number
  /** Milliseconds since 1970. */
  readonly since?: number
}

let count = 0

/** @returns the file's name */
export function writeQueueFile(root: string, file: QueueFile): string {
  const { domain, hops, to = ['someone'], attempts = 0, since = 1_700_000_000_000 } = file
  const address = (user: string, host: string) => ({ original: `<${user}@${host}>`, user, host })
  const todo = {
    queue_time: since,
    domain,
    rcpt_to: to.map((user) => address(user, domain)),
    mail_from: address('me', 'sender.example'),
    notes: {
      gal_relay: {
        routes: [[domain, { hops: hops.map((url) => ({ url })) }]],
        written: [],
        smtputf8: false,
      },
    },
    uuid: `00000000-0000-0000-0000-000000000000.1.${++count}`,
  }
  const header = Buffer.from(JSON.stringify(todo))
  const length = Buffer.alloc(4)
  length.writeUInt32BE(header.length)
  const name = `${since}_${since}_${attempts}_1_aaaaaa_${count}_mx`
  const message = Buffer.from('Subject: x\r\n\r\nx\r\n')
  writeFileSync(path.join(root, 'queue', name), Buffer.concat([length, header, message]))
  return name
}
