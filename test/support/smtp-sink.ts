// Postfix's smtp-sink for a test: a server that takes every message by SMTP or LMTP and keeps each,
// with its envelope, in a file of its own.
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { freePort, untilListening } from './ports'
import { type Child, startChild } from './processes'
import { findProgram } from './programs'
import { until } from './until'

export interface SinkOptions {
  readonly lmtp?: boolean
  /** Default: a free port */
  readonly port?: number
  /** Default 127.0.0.1; an IPv6 address too */
  readonly address?: string
  /** More command-line arguments: `-r RCPT` answers that command with a temporary error. */
  readonly args?: readonly string[]
}

export interface SinkMessage {
  readonly file: string
  /** The address without angle brackets. */
  readonly mail_from: string
  readonly mail_parameters: string
  readonly rcpt_to: readonly string[]
  /** Unfolded lines. */
  readonly headers: readonly string[]
  /** Line ends are LF, as smtp-sink writes them. */
  readonly body: string
}

export interface SmtpSink {
  readonly port: number
  /** The messages that have arrived whole. smtp-sink writes each of them some time after it has accepted it. */
  messages(): SinkMessage[]
  /** Waits until at least that many have arrived. */
  taken(count: number): Promise<SinkMessage[]>
  /** SIGKILL, or the signal; the messages stay. */
  end(signal?: NodeJS.Signals): Promise<void>
  /** On the same port, into the same folder. */
  start(): Promise<void>
  /** Ends it and removes its folder. */
  stop(): Promise<void>
}

export async function startSink(options: SinkOptions = {}): Promise<SmtpSink> {
  const program = findProgram('smtp-sink')
  if (!program) throw new Error('smtp-sink is not installed')
  const { address = '127.0.0.1', port = await freePort() } = options
  const folder = mkdtempSync(path.join(tmpdir(), 'sink-'))
  // Started by root, smtp-sink runs as another user, who must be able to write there.
  chmodSync(folder, 0o777)
  const user = process.getuid?.() === 0 ? ['-u', 'nobody'] : []
  const where = address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`
  const args = [
    ...user,
    ...(options.lmtp ? ['-L'] : []),
    ...(options.args ?? []),
    ...['-m', '1000', '-h', 'sink.test', '-d', path.join(folder, 'm.')],
    ...[where, '1000'],
  ]
  let child: Child

  async function start(): Promise<void> {
    let ended = false
    child = await startChild(program ?? '', args)
    void child.exited.then(() => {
      ended = true
    })
    await untilListening(port, undefined, () => (ended ? child.output() : undefined), address)
  }

  // Tests ask many times a second: each file is parsed once.
  const whole = new Map<string, SinkMessage>()
  const messages = () =>
    readdirSync(folder).flatMap((name) => {
      const message = whole.get(name) ?? parse(path.join(folder, name))
      if (message) whole.set(name, message)
      return message ?? []
    })

  await start()
  return {
    port,
    messages,
    async taken(count) {
      await until(() => messages().length >= count)
      return messages()
    },
    end: async (signal = 'SIGKILL') => void (await child.end(signal)),
    start,
    async stop() {
      await child.end()
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

// smtp-sink ends each file with an empty line of its own.
function parse(file: string): SinkMessage | undefined {
  const text = readFileSync(file, 'latin1')
  const [, envelope = '', rest = ''] =
    /^((?:X-[^\n]*\n)*)Received:[^\n]*\n(?:\t[^\n]*\n)*([\s\S]*)$/.exec(text) ?? []
  if (!rest.endsWith('\n\n')) return undefined
  const args = (name: string) =>
    [...envelope.matchAll(new RegExp(`^X-${name}-Args: (.*)$`, 'gm'))].map(
      ([, value = '']) => value,
    )
  const [, mail_from = '', mail_parameters = ''] =
    /^<(.*?)>\s*(.*)$/.exec(args('Mail')[0] ?? '') ?? []
  const end = rest.indexOf('\n\n')
  return {
    file,
    mail_from,
    mail_parameters,
    rcpt_to: args('Rcpt').map((path) => path.replace(/^<(.*)>.*$/, '$1')),
    headers: rest
      .slice(0, end)
      .replace(/\n[ \t]+/g, ' ')
      .split('\n'),
    body: rest.slice(end + 2, -1),
  }
}
