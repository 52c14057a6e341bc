// The socket by which the gal-relay command reaches a running server: one request and one answer, each a
// line of JSON. Only root and the user that Haraka runs as can open it.
import { chmodSync, chownSync, lstatSync, unlinkSync } from 'node:fs'
import { createServer, type Server, type Socket } from 'node:net'
import path from 'node:path'
import { guard } from '../guard'
import type { Log } from '../log'
import { isTrustedOwner, requireOwnFolder, type Trusted } from '../trusted-file'

/** @returns what the command answers; plain data */
export type ControlHandler = (request: Readonly<Record<string, unknown>>) => unknown

/** Empties the caches of one address. */
export const FORGET = 'forget'

/** Characters of a request. */
const LONGEST = 64 * 1024
/** Milliseconds for a request and its answer. */
const ANSWERED_WITHIN = 10_000
/** The longest path that all systems accept for a socket. */
const PATH_MOST = 103

export interface Control {
  handle(command: string, handler: ControlHandler): void
  close(): void
}

/** @param configDir the install's */
export const socketFile = (configDir: string) => path.resolve(configDir, '..', 'gal_relay.sock')

/**
 * Listens in the background. If it cannot, the log says why, and everything else works.
 * @param owner the user who will own the socket, if root starts the server
 */
export async function openControl(
  file: string,
  trusted: Trusted,
  owner: number | undefined,
  log: Log,
): Promise<Control> {
  const handlers = new Map<string, ControlHandler>()
  const server = createServer(guard('connection of the gal-relay command', accept))
  function accept(socket: Socket): void {
    serve(socket, handlers)
  }
  try {
    await listen(server, file, trusted, owner)
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    log.warn(`the gal-relay command cannot reach this server by ${file}: ${reason}`)
    server.close()
  }
  server.unref()
  return {
    handle(command, handler) {
      handlers.set(command, handler)
    },
    close: () => server.close(),
  }
}

async function listen(
  server: Server,
  file: string,
  trusted: Trusted,
  owner: number | undefined,
): Promise<void> {
  if (Buffer.byteLength(file) > PATH_MOST) throw new Error('the path is too long for a socket')
  await requireOwnFolder(path.dirname(file), trusted)
  removeFormer(file, trusted)
  await new Promise<void>((resolve, reject) => {
    server.on('error', guard('error of the socket for the gal-relay command', reject))
    server.on(
      'listening',
      guard('socket for the gal-relay command', () => resolve(), reject),
    )
    // So the socket has its mode from the start.
    const umask = process.umask(0o177)
    try {
      server.listen(file)
    } finally {
      process.umask(umask)
    }
  })
  chmodSync(file, 0o600)
  if (owner !== undefined && process.geteuid?.() === 0) chownSync(file, owner, -1)
}

/** Removes the socket of a server that was killed. */
function removeFormer(file: string, trusted: Trusted): void {
  const stats = lstatSync(file, { throwIfNoEntry: false })
  if (!stats) return
  if (!stats.isSocket() || !isTrustedOwner(stats, trusted)) {
    throw new Error('something else is there, or it belongs to somebody else')
  }
  unlinkSync(file)
}

function serve(socket: Socket, handlers: ReadonlyMap<string, ControlHandler>): void {
  let text = ''
  socket.setEncoding('utf8')
  socket.setTimeout(ANSWERED_WITHIN)
  const end = () => socket.destroy()
  const read = async (piece: string) => {
    text += piece
    const [line, ...rest] = text.split('\n')
    if (rest.length === 0) {
      if (text.length > LONGEST) socket.destroy()
      return
    }
    socket.pause()
    socket.end(`${JSON.stringify(await answerTo(line ?? '', handlers))}\n`)
  }
  socket.on('timeout', guard('time-out of the gal-relay command', end))
  socket.on('error', guard('lost connection of the gal-relay command', end))
  socket.on('data', guard('request of the gal-relay command', read, end))
}

type Answer = { readonly answer: unknown } | { readonly error: string }

async function answerTo(
  line: string,
  handlers: ReadonlyMap<string, ControlHandler>,
): Promise<Answer> {
  const request = requestIn(line)
  const handler = request && handlers.get(String(request.command))
  if (!request || !handler) return { error: 'this server does not know the command' }
  return { answer: await handler(request) }
}

function requestIn(line: string): Readonly<Record<string, unknown>> | undefined {
  try {
    const request: unknown = JSON.parse(line)
    return typeof request === 'object' && request !== null
      ? (request as Record<string, unknown>)
      : undefined
  } catch {
    return undefined
  }
}
