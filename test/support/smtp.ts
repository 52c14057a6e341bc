// An SMTP client for tests (RFC 5321). It sends one command at a time, with addresses and lines exactly as
// given, and returns whole replies. It can send a PROXY v1 line first, like a proxy in front of the server.
import { once } from 'node:events'
import { connect, isIPv4, type Socket } from 'node:net'

export interface Reply {
  readonly code: number
  /** The enhanced status code (RFC 3463), `5.7.1` */
  readonly enhanced?: string
  /** The text of all its lines, without the codes of the first. */
  readonly text: string
  /** The first line: `550 5.7.1 Relaying is prohibited` */
  readonly line: string
  readonly lines: readonly string[]
}

export interface ProxyAddresses {
  /** The client's IP address. */
  readonly client: string
  /** The listener that it connected to: `10.0.0.5:25` or `[2001:db8::5]:25` */
  readonly local: string
}

export interface SmtpOptions {
  readonly port: number
  /** Default 127.0.0.1 */
  readonly host?: string
  readonly proxy?: ProxyAddresses
  /** How long to wait for one reply, in milliseconds; the default is longer than Haraka's plugin_timeout */
  readonly timeout?: number
}

/** The replies to one transaction; `data` is absent if no recipient was accepted or no message was given. */
export interface TransactionReplies {
  readonly mail: Reply
  readonly rcpt: readonly Reply[]
  readonly data?: Reply
}

/** Connects and reads the greeting. @throws Error if nothing listens there */
export async function connectSmtp(options: SmtpOptions): Promise<SmtpClient> {
  const socket = connect(options.port, options.host ?? '127.0.0.1').setNoDelay(true)
  await once(socket, 'connect')
  const client = new SmtpClient(socket, options.timeout ?? 40_000)
  if (options.proxy) client.write(proxyLine(options.proxy))
  client.greeting = await client.reply()
  return client
}

export class SmtpClient {
  greeting: Reply = { code: 0, text: '', line: '', lines: [] }
  /** The keywords of the reply to the last EHLO, such as `AUTH PLAIN LOGIN` */
  capabilities: readonly string[] = []
  readonly #socket: Socket
  readonly #timeout: number
  readonly #waiting: { resolve(reply: Reply): void; reject(error: Error): void }[] = []
  readonly #replies: Reply[] = []
  readonly #lines: string[] = []
  #rest = ''
  #ended?: Error

  constructor(socket: Socket, timeout: number) {
    this.#socket = socket
    this.#timeout = timeout
    socket.setEncoding('utf8')
    socket.on('data', (text: string) => this.#received(text))
    socket.on('error', (error) => this.#end(error))
    socket.on('close', () => this.#end(new Error('the server closed the connection')))
  }

  /** Sends text or bytes as they are. */
  write(data: string | Uint8Array): void {
    this.#socket.write(data)
  }

  /** @returns the next reply. @throws Error if the connection ends or the time runs out first */
  async reply(): Promise<Reply> {
    const ready = this.#replies.shift()
    if (ready) return ready
    if (this.#ended) throw this.#ended
    const next = new Promise<Reply>((resolve, reject) => this.#waiting.push({ resolve, reject }))
    const timer = setTimeout(
      () => this.#socket.destroy(new Error(`no reply within ${this.#timeout} ms`)),
      this.#timeout,
    )
    try {
      return await next
    } finally {
      clearTimeout(timer)
    }
  }

  /** Sends one line with CRLF added, and waits for the reply. */
  command(line: string | Uint8Array): Promise<Reply> {
    this.write(Buffer.concat([Buffer.from(line), Buffer.from('\r\n')]))
    return this.reply()
  }

  async ehlo(name = 'client.test'): Promise<Reply> {
    const reply = await this.command(`EHLO ${name}`)
    this.capabilities = reply.lines.slice(1).map((line) => line.slice(4))
    return reply
  }

  auth(user: string, password: string): Promise<Reply> {
    return this.command(`AUTH PLAIN ${Buffer.from(`\0${user}\0${password}`).toString('base64')}`)
  }

  /** @param from the address without brackets; '' is the null sender */
  mail(from: string, parameters = ''): Promise<Reply> {
    return this.command(`MAIL FROM:<${from}>${parameters && ` ${parameters}`}`)
  }

  rcpt(to: string, parameters = ''): Promise<Reply> {
    return this.command(`RCPT TO:<${to}>${parameters && ` ${parameters}`}`)
  }

  /** @returns the reply to the message, or to DATA itself if that was refused */
  async data(message: string | Uint8Array): Promise<Reply> {
    const ready = await this.command('DATA')
    if (ready.code !== 354) return ready
    const text = Buffer.from(message)
      .toString('latin1')
      .replace(/(^|\n)\./g, '$1..')
    this.write(Buffer.from(text.endsWith('\r\n') ? text : `${text}\r\n`, 'latin1'))
    return this.command('.')
  }

  rset(): Promise<Reply> {
    return this.command('RSET')
  }

  /** Sends MAIL, each RCPT and, if a message is given and a recipient was accepted, DATA. */
  async transaction(
    from: string,
    to: readonly string[],
    message?: string | Uint8Array,
  ): Promise<TransactionReplies> {
    const mail = await this.mail(from)
    const rcpt: Reply[] = []
    if (mail.code !== 250) return { mail, rcpt }
    for (const recipient of to) rcpt.push(await this.rcpt(recipient))
    if (message === undefined || !rcpt.some(({ code }) => code === 250)) return { mail, rcpt }
    return { mail, rcpt, data: await this.data(message) }
  }

  async quit(): Promise<void> {
    await this.command('QUIT').catch(() => {})
    this.close()
  }

  /** Closes the connection without QUIT. */
  close(): void {
    this.#socket.destroy()
  }

  #received(text: string): void {
    const lines = (this.#rest + text).split('\r\n')
    this.#rest = lines.pop() ?? ''
    for (const line of lines) {
      this.#lines.push(line)
      if (line[3] === '-') continue
      const reply = parseReply(this.#lines.splice(0))
      if (!reply) return void this.#socket.destroy(new Error(`not an SMTP reply: ${line}`))
      const waiting = this.#waiting.shift()
      if (waiting) waiting.resolve(reply)
      else this.#replies.push(reply)
    }
  }

  #end(error: Error): void {
    this.#ended ??= error
    for (const { reject } of this.#waiting.splice(0)) reject(error)
  }
}

function parseReply(lines: readonly string[]): Reply | undefined {
  const [first = ''] = lines
  const [, code, enhanced, start = ''] =
    /^(\d{3})[ -]?(?:(\d\.\d{1,3}\.\d{1,3})(?: |$))?(.*)$/.exec(first) ?? []
  if (!code) return undefined
  return {
    code: Number(code),
    ...(enhanced ? { enhanced } : {}),
    text: [start, ...lines.slice(1).map((line) => line.slice(4))].join('\n'),
    line: `${code} ${first.slice(4)}`,
    lines,
  }
}

/** PROXY protocol version 1. Two address families, or an IPv4-mapped address, are sent as TCP6. */
export function proxyLine({ client, local }: ProxyAddresses): string {
  const [, host = '', port = ''] = /^\[?(.*?)\]?:(\d+)$/.exec(local) ?? []
  if (!port) throw new Error(`not an address and port: ${local}`)
  const bothIPv4 = isIPv4(client) && isIPv4(host)
  const mapped = (ip: string) => (isIPv4(ip) && !bothIPv4 ? `::ffff:${ip}` : ip)
  return `PROXY ${bothIPv4 ? 'TCP4' : 'TCP6'} ${mapped(client)} ${mapped(host)} 40000 ${port}\r\n`
}
