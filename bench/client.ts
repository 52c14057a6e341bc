// The clients of a benchmark: several connections at a time, each of which sends a command after
// the reply to the last one, either RCPT TO alone or whole messages. Measures the time for each
// recipient or message.
import { connect, type Socket } from 'node:net'

/** The work that servers are given. */
export interface Load {
  /**
   * @param connections the number of connections at a time
   * @param awake see `Clients.send`
   */
  connect(port: number, connections: number, awake: boolean): Promise<Sender>
}

export interface Sender {
  /** @throws Error if the server closes a connection */
  send(count: number): Promise<Measured>
  close(): void
}

export interface Measured {
  /** Replies per second. */
  readonly rate: number
  /** The percentile of the reply times, in milliseconds. */
  readonly p50: number
  readonly p99: number
  /** The number of replies that were wrong for their address. */
  readonly wrong: number
  /** How long each reply took, in milliseconds, fastest first. */
  readonly took: Float64Array
}

/** A recipient and the correct reply code for it. */
export interface Addressed {
  readonly address: string
  readonly code: number
}

/** Recipients in one transaction before the next one begins. */
const PER_TRANSACTION = 50

export class Clients {
  readonly #connections: readonly Connection[]

  private constructor(connections: readonly Connection[]) {
    this.#connections = connections
  }

  static async connect(port: number, count: number): Promise<Clients> {
    const connections = Array.from({ length: count }, () => new Connection(port))
    await Promise.all(connections.map((connection) => connection.open()))
    return new Clients(connections)
  }

  /**
   * @param next returns the next recipient
   * @param awake whether the clients stay awake while they wait for replies: waking them would be charged to
   *   the server, and more to a slow server than to a fast one
   * @throws Error if the server closes a connection
   */
  async send(count: number, next: () => Addressed, awake = false): Promise<Measured> {
    return measured(count, this.#connections, awake, async (connection) => {
      const { address, code } = next()
      return (await connection.recipient(address)) === code
    })
  }

  close(): void {
    for (const connection of this.#connections) connection.close()
  }
}

/** @param next returns the next recipient */
export function recipientLoad(next: () => Addressed): Load {
  return {
    async connect(port, connections, awake) {
      const clients = await Clients.connect(port, connections)
      return { send: (count) => clients.send(count, next, awake), close: () => clients.close() }
    },
  }
}

/** How messages arrive. */
export interface Delivery {
  /** Messages per connection; it then ends, and another follows. */
  readonly perConnection: number
  /** Recipients per message. */
  readonly recipients: number
}

interface Messenger {
  connection?: Connection | undefined
  /** Messages left until the connection ends. */
  left: number
}

/** @param next returns the next recipient; all are valid */
export function messageLoad({ perConnection, recipients }: Delivery, next: () => string): Load {
  return {
    async connect(port, connections, awake) {
      const clients: Messenger[] = Array.from({ length: connections }, () => ({ left: 0 }))
      return {
        send: (count) =>
          measured(count, clients, awake, async (client) => {
            const connection = client.connection ?? new Connection(port)
            if (!client.connection) {
              await connection.greet()
              client.connection = connection
              client.left = perConnection
            }
            const isTaken = await connection.message(Array.from({ length: recipients }, next))
            if (--client.left === 0) {
              await connection.quit()
              client.connection = undefined
            }
            return isTaken
          }),
        close() {
          for (const { connection } of clients) connection?.close()
        },
      }
    },
  }
}

/** @param send sends one command or message for a client; resolves to whether the replies were right */
async function measured<Client>(
  count: number,
  clients: readonly Client[],
  awake: boolean,
  send: (client: Client) => Promise<boolean>,
): Promise<Measured> {
  const took = new Float64Array(count)
  let sent = 0
  let wrong = 0
  let isOver = !awake
  const stayAwake = () => isOver || setImmediate(stayAwake)
  stayAwake()
  const begin = performance.now()
  await Promise.all(
    clients.map(async (client) => {
      while (sent < count) {
        const number = sent++
        const at = performance.now()
        if (!(await send(client))) wrong++
        took[number] = performance.now() - at
      }
    }),
  )
  isOver = true
  const rate = count / ((performance.now() - begin) / 1000)
  took.sort()
  const part = (fraction: number) => took[Math.floor(count * fraction)] ?? 0
  return { rate, p50: part(0.5), p99: part(0.99), wrong, took }
}

/** A message as it looks after passing through one server. */
const MESSAGE = `Received: from desk.client.test (desk.client.test [192.0.2.8])\r
\tby out.client.test (Postfix) with ESMTPS id 4bK9Tq1jX9z2xNx\r
\tfor <somebody@example.com>; Sat, 28 Nov 2026 09:00:00 +0000 (UTC)\r
From: A Sender <sender@client.test>\r
To: Somebody <somebody@example.com>\r
Subject: Minutes of the meeting\r
Date: Sat, 28 Nov 2026 09:00:00 +0000\r
Message-ID: <1f0a7c52-8f9e-4c8a-9d38-2f6f6f2d3b1a@client.test>\r
MIME-Version: 1.0\r
Content-Type: text/plain; charset=utf-8\r
\r
${'A line of text, about as long as those that people write in their mail.\r\n'.repeat(20)}.\r
`

const CLOSED = 'the server has closed a connection'

class Connection {
  readonly #socket: Socket
  #text = ''
  #replied: (code: number) => void = () => {}
  #failed: (error: Error) => void = () => {}
  #recipients = 0

  constructor(port: number) {
    this.#socket = connect({ port, host: '127.0.0.1', noDelay: true }).setEncoding('latin1')
    this.#socket.on('data', (text: string) => {
      this.#text += text
      // The last line of a reply has a space after its code.
      if (!this.#text.endsWith('\n') || !/(^|\n)\d{3} [^\n]*\n$/.test(this.#text)) return
      const code = Number(this.#text.slice(0, 3))
      this.#text = ''
      this.#replied(code)
    })
    this.#socket.on('error', (error) => this.#failed(error))
    this.#socket.on('close', () => this.#failed(new Error(CLOSED)))
  }

  async greet(): Promise<void> {
    await this.#reply()
    await this.#command('EHLO client.test')
  }

  async open(): Promise<void> {
    await this.greet()
    await this.#command('MAIL FROM:<sender@client.test>')
  }

  /** @returns whether it was accepted for all recipients */
  async message(recipients: readonly string[]): Promise<boolean> {
    const codes = [await this.#command('MAIL FROM:<sender@client.test>')]
    for (const recipient of recipients) codes.push(await this.#command(`RCPT TO:<${recipient}>`))
    const ready = await this.#command('DATA')
    const replied = this.#reply()
    this.#socket.write(MESSAGE)
    codes.push(await replied)
    return ready === 354 && codes.every((code) => code === 250)
  }

  async quit(): Promise<void> {
    await this.#command('QUIT')
    this.close()
  }

  async recipient(address: string): Promise<number> {
    if (++this.#recipients % PER_TRANSACTION === 0) {
      await this.#command('RSET')
      await this.#command('MAIL FROM:<sender@client.test>')
    }
    return this.#command(`RCPT TO:<${address}>`)
  }

  close(): void {
    this.#socket.destroy()
  }

  /** @returns the reply's code */
  #command(line: string): Promise<number> {
    if (this.#socket.destroyed) return Promise.reject(new Error(CLOSED))
    const reply = this.#reply()
    this.#socket.write(`${line}\r\n`)
    return reply
  }

  #reply(): Promise<number> {
    return new Promise((resolve, reject) => {
      this.#replied = resolve
      this.#failed = reject
    })
  }
}
