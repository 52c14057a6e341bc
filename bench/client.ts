// The clients of a benchmark: a number of connections, each sending one RCPT TO after the reply to the
// one before, and the time that each reply took.
import { connect, type Socket } from 'node:net'

export interface Measured {
  /** Replies for each second. */
  readonly rate: number
  /** Milliseconds below which that part of the replies came. */
  readonly p50: number
  readonly p99: number
  /** How many replies were not what the address deserved. */
  readonly wrong: number
  /** How long each reply took, milliseconds, the quickest first. */
  readonly took: Float64Array
}

/** A recipient and the reply code it deserves. */
export interface Addressed {
  readonly address: string
  readonly code: number
}

/** Recipients in one transaction, before the next one begins. */
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
   * @param next the recipients, one after the other
   * @param awake the clients do not sleep while they wait for replies: to wake them would cost the
   *   server time, the more the slower it is, though it is none of its own
   * @throws Error when the server closes a connection
   */
  async send(count: number, next: () => Addressed, awake = false): Promise<Measured> {
    const took = new Float64Array(count)
    let sent = 0
    let wrong = 0
    let isOver = !awake
    const stayAwake = () => isOver || setImmediate(stayAwake)
    stayAwake()
    const begin = performance.now()
    await Promise.all(
      this.#connections.map(async (connection) => {
        while (sent < count) {
          const number = sent++
          const { address, code } = next()
          const at = performance.now()
          if ((await connection.recipient(address)) !== code) wrong++
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

  close(): void {
    for (const connection of this.#connections) connection.close()
  }
}

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
      // The last line of a reply has a space behind its code.
      if (!this.#text.endsWith('\n') || !/(^|\n)\d{3} [^\n]*\n$/.test(this.#text)) return
      const code = Number(this.#text.slice(0, 3))
      this.#text = ''
      this.#replied(code)
    })
    this.#socket.on('error', (error) => this.#failed(error))
    this.#socket.on('close', () => this.#failed(new Error(CLOSED)))
  }

  async open(): Promise<void> {
    await this.#reply()
    await this.#command('EHLO client.test')
    await this.#command('MAIL FROM:<sender@client.test>')
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
