// A TCP proxy in front of a server. It can misbehave, for connections that are open and for later ones.
import { randomBytes } from 'node:crypto'
import { connect, createServer, type Socket } from 'node:net'
import {
  BerReader,
  enumerated,
  integer,
  messageLength,
  octets,
  TAG,
  tlv,
} from '../../plugins/gal-relay/ldap/ber'
import { freePort } from './ports'

/** What it does with the data from the server. */
export type Behaviour =
  | { readonly kind: 'pass' }
  /** Accepts connections, and passes on no more bytes in either direction. */
  | { readonly kind: 'hang' }
  /** Adds this many milliseconds to each round trip. */
  | { readonly kind: 'delay'; readonly milliseconds: number }
  /** Answers every request with meaningless bytes. */
  | { readonly kind: 'garbage' }
  /** Closes the connection after this many bytes of the next answer. */
  | { readonly kind: 'cut'; readonly after: number }
  /** Resets connections as soon as they are open. */
  | { readonly kind: 'reset' }
  /** Answers every LDAP search with an endless series of entries. */
  | { readonly kind: 'flood' }
  /** Answers every LDAP search itself: no entry, and this result code. */
  | { readonly kind: 'result'; readonly code: number }

export interface TcpProxy {
  readonly port: number
  /** Connections from clients that are open. */
  readonly connections: number
  behave(behaviour: Behaviour): void
  /** Changes the server's port for later connections. */
  redirect(port: number, host?: string): void
  /** Closes all connections, in order or by reset. */
  drop(how?: 'end' | 'reset'): void
  /** Stops listening, and resets all connections. */
  closePort(): void
  /** Listens there again. */
  openPort(): Promise<void>
  stop(): Promise<void>
}

interface Pair {
  readonly client: Socket
  readonly server: Socket
}

export interface TcpProxyOptions {
  /** Where the real server is; default 127.0.0.1 */
  readonly host?: string
  /** Called with the data from clients, which it may change. */
  readonly onRequest?: (bytes: Buffer, client: Socket) => void
}

/** @param port where the real server is */
export async function startTcpProxy(
  port: number,
  { host = '127.0.0.1', onRequest }: TcpProxyOptions = {},
): Promise<TcpProxy> {
  let behaviour: Behaviour = { kind: 'pass' }
  let target = { port, host }
  const pairs = new Set<Pair>()

  const listener = createServer({ noDelay: true }, (client) => {
    if (behaviour.kind === 'reset') {
      client.on('error', () => {})
      reset(client)
      return
    }
    const server = connect({ ...target, noDelay: true })
    const pair = { client, server }
    pairs.add(pair)
    const forget = () => {
      pairs.delete(pair)
      client.destroy()
      server.destroy()
    }
    for (const socket of [client, server]) socket.on('error', forget).on('close', forget)
    client.on('data', (bytes) => toServer(pair, bytes))
    server.on('data', (bytes) => toClient(pair, bytes))
  })

  function toServer({ client, server }: Pair, bytes: Buffer): void {
    onRequest?.(bytes, client)
    if (behaviour.kind === 'hang') return
    if (behaviour.kind === 'garbage') client.write(randomBytes(64))
    else if (behaviour.kind === 'delay') later(server, bytes, behaviour.milliseconds)
    else if (behaviour.kind === 'result') {
      const { code } = behaviour
      answerSearches({ client, server }, bytes, (id) => client.write(searchDone(id, code)))
    } else if (behaviour.kind === 'flood') {
      answerSearches({ client, server }, bytes, (id) => flood(client, id))
    } else server.write(bytes)
  }

  function toClient({ client }: Pair, bytes: Buffer): void {
    if (behaviour.kind === 'hang' || behaviour.kind === 'garbage') return
    if (behaviour.kind === 'delay') later(client, bytes, behaviour.milliseconds)
    else if (behaviour.kind === 'cut') client.end(bytes.subarray(0, behaviour.after))
    else client.write(bytes)
  }

  function drop(how: 'end' | 'reset' = 'end'): void {
    for (const { client } of pairs) {
      if (how === 'reset') reset(client)
      else client.destroy()
    }
  }

  // A port that stays free while the proxy is closed.
  const own = await freePort()
  const openPort = () =>
    new Promise<void>((resolve, reject) => {
      listener.once('error', reject).listen(own, '127.0.0.1', () => {
        listener.off('error', reject)
        resolve()
      })
    })
  await openPort()
  return {
    port: own,
    get connections() {
      return pairs.size
    },
    behave(next) {
      behaviour = next
      if (next.kind === 'reset') drop('reset')
    },
    redirect(nextPort, nextHost = host) {
      target = { port: nextPort, host: nextHost }
    },
    drop,
    closePort() {
      listener.close()
      drop('reset')
    },
    openPort,
    stop() {
      return new Promise((resolve) => {
        listener.close(() => resolve())
        for (const { client, server } of pairs) {
          client.destroy()
          server.destroy()
        }
      })
    },
  }
}

/** Node 20 never frees a socket that is reset while its end is being sent, and so never exits. */
function reset(socket: Socket): void {
  if (socket.writableEnded) socket.destroy()
  else socket.resetAndDestroy()
}

function later(socket: Socket, bytes: Buffer, milliseconds: number): void {
  setTimeout(() => socket.writable && socket.write(bytes), milliseconds / 2)
}

/** Requests arrive whole: they are small, and clients write one or several at once. */
function answerSearches({ server }: Pair, bytes: Buffer, answer: (id: number) => void): void {
  for (let at = 0; at < bytes.length; ) {
    const end = at + messageLength(bytes, at)
    const message = new BerReader(bytes, at, end).expect(TAG.sequence).inside()
    const id = message.expect(TAG.integer).number()
    if (message.next() === SEARCH_REQUEST) answer(id)
    else server.write(bytes.subarray(at, end))
    at = end
  }
}

function flood(client: Socket, id: number): void {
  const values = Array.from({ length: 50 }, (_, n) => octets(`smtp:flood${n}@flood.example`))
  const attribute = tlv(TAG.sequence, octets('proxyAddresses'), tlv(SET, ...values))
  const entry = tlv(SEARCH_ENTRY, octets('cn=flood'), tlv(TAG.sequence, attribute))
  const message = tlv(TAG.sequence, integer(id), entry)
  const whole = Buffer.alloc(50 * message.length, message)
  const pour = () => {
    while (client.writable && client.write(whole));
  }
  client.setMaxListeners(0).on('drain', pour)
  pour()
}

function searchDone(id: number, code: number): Buffer {
  const elsewhere = tlv(REFERRAL_URLS, octets('ldap://elsewhere.test/dc=corp,dc=test'))
  const parts = [
    enumerated(code),
    octets(''),
    octets(''),
    ...(code === REFERRAL ? [elsewhere] : []),
  ]
  return tlv(TAG.sequence, integer(id), tlv(SEARCH_DONE, ...parts))
}

// RFC 4511 §4.5, §4.1.9
const SEARCH_REQUEST = 0x63
const SEARCH_ENTRY = 0x64
const SEARCH_DONE = 0x65
const SET = 0x31
const REFERRAL_URLS = 0xa3
const REFERRAL = 10
