// Next hops that are spoken to over TLS or not at all: smtps://, and those that take a password.
// Haraka's outbound knows STARTTLS only, sends the password in clear where that is not offered, and
// writes it into its protocol log. So such a hop is opened here, TLS and AUTH done, and Haraka gets
// the rest of the session through a Unix-domain socket that nobody else can open.
import { chmodSync, existsSync, mkdtempSync, rmSync } from 'node:fs'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { type ConnectionOptions, connect as connectTls, type TLSSocket } from 'node:tls'
import { guard, later } from '../guard'
import type { Log } from '../log'
import type { NextHop } from '../routing/routes'
import { visibleWords } from '../visible'

/** @returns the install's TLS options for a host: `[outbound]` of tls.ini */
export type TlsOptionsFor = (host: string) => ConnectionOptions

/** Less than Haraka waits for a greeting (`connect_timeout` of outbound.ini, 30 s). */
const PATIENCE = 25_000

export const needsTls = (hop: NextHop) => hop.protocol === 'smtps' || hop.password !== undefined

export class SecureHops {
  private readonly servers = new Map<string, Promise<Server>>()
  private folder: string | undefined
  /** How many sockets have been made. */
  private made = 0

  /** @param name what we call ourselves in EHLO */
  constructor(
    private readonly name: string,
    private readonly log: Log,
  ) {}

  /** @returns the path of the socket that leads there; @throws Error when it cannot be made */
  async pathTo(hop: NextHop, tlsFor: TlsOptionsFor): Promise<string> {
    const key = JSON.stringify([hop.text, hop.user, hop.password])
    const listening =
      this.servers.get(key) ?? this.listen(hop, this.newPath(hop), () => tlsFor(hop.host))
    this.servers.set(key, listening)
    const server = await listening.catch((error) => {
      this.servers.delete(key)
      throw error
    })
    const at = server.address() as string
    if (existsSync(at)) return at
    // Who cleans up /tmp has taken the socket away, and the folder with it.
    if (this.servers.get(key) === listening) this.servers.delete(key)
    server.close()
    return this.pathTo(hop, tlsFor)
  }

  async close(): Promise<void> {
    const servers = await Promise.allSettled(this.servers.values())
    for (const server of servers) if (server.status === 'fulfilled') server.value.close()
    this.servers.clear()
    if (this.folder) rmSync(this.folder, { recursive: true, force: true })
    this.folder = undefined
  }

  // The hop is in the name, for Haraka's log; a socket's path has room for 100 characters.
  private newPath(hop: NextHop): string {
    if (!this.folder || !existsSync(this.folder)) {
      const folder = mkdtempSync(path.join(tmpdir(), 'gal-relay-'))
      chmodSync(folder, 0o700)
      // Haraka ends without a word to its plugins, unless it is set to end gracefully.
      const remove = () => rmSync(folder, { recursive: true, force: true })
      process.once('exit', guard('removal of the sockets to next hops', remove))
      this.folder = folder
    }
    const name = `${++this.made}-${hop.protocol}-${hop.host}-${hop.port}`
    return path.join(this.folder, name).slice(0, 100)
  }

  private listen(hop: NextHop, at: string, tls: () => ConnectionOptions): Promise<Server> {
    const pass = async (haraka: Socket) => {
      // Haraka goes on to the next host when the connection ends before a greeting.
      haraka.on('error', () => {})
      try {
        await connectThrough(haraka, hop, this.name, tls)
      } catch (error) {
        this.log.warn(`next hop ${hop.text} cannot be used: ${(error as Error).message}`)
        haraka.destroy()
      }
    }
    const server = createServer(
      guard('connection to a next hop', pass, (_error, haraka) => haraka.destroy()),
    )
    return new Promise((resolve, reject) => {
      // As long as it listens: it may run out of files at any time.
      server.on('error', reject)
      const ready = () => {
        // The process may end while nothing but such sockets is left.
        server.unref()
        resolve(server)
      }
      server.listen(at, guard('socket to a next hop', ready, reject))
    })
  }
}

async function connectThrough(
  haraka: Socket,
  hop: NextHop,
  name: string,
  tlsOptions: () => ConnectionOptions,
): Promise<void> {
  const sockets: Socket[] = []
  const abandon = (why: string) => {
    for (const socket of sockets) socket.destroy(new Error(why))
  }
  const late = () => abandon(`no session within ${PATIENCE} ms`)
  const timer = later(PATIENCE, 'next hop time-out', late, late)
  const closed = () => abandon('Haraka closed the connection')
  haraka.once('close', guard('end of a connection to a next hop', closed, closed))
  try {
    const tcp = connect({ host: hop.host, port: hop.port, noDelay: true })
    sockets.push(tcp)
    await event(tcp, 'connect')
    if (hop.protocol !== 'smtps') await startTls(tcp, hop, name)
    const options = { ...tlsOptions(), ...whomToTrust(hop) }
    const hopSocket = connectTls({ ...options, host: hop.host, socket: tcp })
    sockets.push(hopSocket)
    await event(hopSocket, 'secureConnect')
    const capabilities = await signIn(hopSocket, hop, name)
    clearTimeout(timer)
    handOver(haraka, hopSocket, hop, capabilities)
  } catch (error) {
    abandon('given up')
    throw error
  } finally {
    clearTimeout(timer)
  }
}

// A password goes only to a host that proves to be the one in the row. Without one it is as the
// install wants it for STARTTLS too.
const whomToTrust = (hop: NextHop): ConnectionOptions =>
  hop.password === undefined ? {} : { rejectUnauthorized: true }

async function startTls(socket: Socket, hop: NextHop, name: string): Promise<void> {
  await reply(socket, 'greeting')
  const { lines } = await command(socket, hello(hop, name))
  if (!lines.some((line) => /^starttls$/i.test(line))) throw new Error('it does not offer STARTTLS')
  await command(socket, 'STARTTLS')
}

/** @returns what it offers, after AUTH */
async function signIn(socket: TLSSocket, hop: NextHop, name: string): Promise<readonly string[]> {
  if (hop.protocol === 'smtps') await reply(socket, 'greeting')
  const { lines } = await command(socket, hello(hop, name))
  const { user, password } = hop
  if (user !== undefined && password !== undefined) {
    const methods =
      lines
        .find((line) => /^auth /i.test(line))
        ?.toUpperCase()
        .split(/\s+/) ?? []
    if (methods.includes('PLAIN')) {
      await command(socket, `AUTH PLAIN ${base64(`\0${user}\0${password}`)}`, 'AUTH PLAIN')
    } else if (methods.includes('LOGIN')) {
      await command(socket, 'AUTH LOGIN')
      await command(socket, base64(user), 'AUTH LOGIN')
      await command(socket, base64(password), 'AUTH LOGIN')
    } else {
      throw new Error('it offers neither AUTH PLAIN nor AUTH LOGIN')
    }
  }
  return lines.slice(1).filter((line) => !/^(starttls$|auth\b)/i.test(line))
}

const hello = (hop: NextHop, name: string) => `${hop.protocol === 'lmtp' ? 'LHLO' : 'EHLO'} ${name}`
const base64 = (text: string) => Buffer.from(text).toString('base64')

// Haraka's own greeting and EHLO are answered here: the hop has had them already.
function handOver(
  haraka: Socket,
  hopSocket: TLSSocket,
  hop: NextHop,
  capabilities: readonly string[],
): void {
  // What the hop said last is still to be read: it may be that it has the message.
  const end = () => haraka.destroySoon()
  hopSocket.on('error', guard('error of a next hop', end, end))
  hopSocket.once('close', guard('end of a next hop', end, end))
  const begin = () => {
    haraka.pause()
    const lines = [hop.host, ...capabilities]
    const last = lines.length - 1
    haraka.write(lines.map((line, i) => `250${i === last ? ' ' : '-'}${line}\r\n`).join(''))
    haraka.pipe(hopSocket).pipe(haraka)
  }
  const giveUp = () => haraka.destroy()
  haraka.once('data', guard('first command to a next hop', begin, giveUp))
  haraka.write(`220 ${hop.host} ESMTP\r\n`)
}

interface Reply {
  readonly code: number
  /** Without the codes. */
  readonly lines: readonly string[]
}

/** @param shown the part of the line that may be shown, if it holds a secret */
async function command(socket: Socket, line: string, shown = line): Promise<Reply> {
  const answer = reply(socket, shown, shown !== line)
  socket.write(`${line}\r\n`)
  return answer
}

const LONGEST_REPLY = 65_536

/**
 * @param isSecret what was sent: a server may repeat it, so the error shows only the codes of its reply
 * @throws Error when the reply is not a success, or more than one reply comes
 */
function reply(socket: Socket, to: string, isSecret = false): Promise<Reply> {
  return new Promise((resolve, reject) => {
    let text = ''
    const settle = (settled: () => void) => {
      socket.pause()
      socket.removeListener('data', onData)
      socket.removeListener('error', onError)
      socket.removeListener('close', onClose)
      settled()
    }
    const fail = (what: string) => settle(() => reject(new Error(what)))
    const failed = (error: unknown) => fail((error as Error).message)
    const onError = guard('failed connection to a next hop', failed, failed)
    const closed = () => fail(`it closed the connection instead of a reply to ${to}`)
    const onClose = guard('closed connection to a next hop', closed, closed)
    const take = (chunk: Buffer) => {
      text += chunk.toString('latin1')
      if (text.length > LONGEST_REPLY) return fail(`its reply to ${to} has no end`)
      if (!/(^|\n)\d{3}( [^\n]*)?\r?\n/.test(text)) return
      // Anything behind it was sent before TLS, by whom we do not know, to be taken for TLS's.
      const whole = /^((?:\d{3}-[^\n]*\n)*)(\d{3})( [^\n]*)?\n$/.exec(text)
      if (!whole) return fail(`it sent no proper reply to ${to}`)
      const code = Number(whole[2])
      const lines = text
        .trimEnd()
        .split(/\r?\n/)
        .map((line) => line.slice(4))
      const last = lines.at(-1) ?? ''
      const enhanced = /^\d\.\d{1,3}\.\d{1,3}(?= |$)/.exec(last)?.[0] ?? ''
      const replyText = isSecret ? enhanced : visibleWords(last)
      if (code >= 400) return fail(`it answered ${to} with ${code} ${replyText}`.trimEnd())
      settle(() => resolve({ code, lines }))
    }
    const onData = guard('reply of a next hop', take, failed)
    socket.on('data', onData).once('error', onError).once('close', onClose)
    socket.resume()
  })
}

function event(socket: Socket, name: 'connect' | 'secureConnect'): Promise<void> {
  return new Promise((resolve, reject) => {
    // More than once: TLS has an error of its own when the socket below it has one.
    socket.on('error', reject)
    const closed = () => reject(new Error('it closed the connection'))
    socket.once('close', guard('closed next hop', closed, closed))
    const ready = () => {
      socket.removeAllListeners('error')
      socket.removeAllListeners('close')
      // Until the next one listens; an error without a listener would end the process.
      socket.on('error', () => {})
      resolve()
    }
    socket.once(name, guard('connected next hop', ready, reject))
  })
}
