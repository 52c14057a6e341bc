// Finds free ports on loopback, and waits until a server listens there.
import { randomInt } from 'node:crypto'
import { connect, createServer, type Server } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'

// Below the range of client ports, so that no outgoing connection of another test has the port when the
// server finally binds it.
const FIRST = 12_000
const LAST = 32_000
/** The number of ports that a process has for itself. It takes as many again when they are used up. */
const SHARE = 100

/** The ports in this process's share that it has not returned yet. */
let left: number[] = []

/**
 * Returns each port once, and no port that another test process of this machine has. So a port that is
 * meant to be closed stays closed.
 * @returns a port of 127.0.0.1 that nothing listened on a moment ago
 */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = left.pop()
    if (port === undefined) left = await claimShare()
    else if (await isFree(port)) return port
  }
}

/** @returns a range of ports. This process listens on the first one, which claims them all. */
async function claimShare(): Promise<number[]> {
  for (;;) {
    const first = FIRST + SHARE * randomInt((LAST - FIRST) / SHARE)
    const sign = await listenOn(first)
    sign?.unref()
    if (sign) return Array.from({ length: SHARE - 1 }, (_, i) => first + 1 + i)
  }
}

/** @returns that many different ports */
export async function freePorts(count: number): Promise<number[]> {
  const ports: number[] = []
  while (ports.length < count) ports.push(await freePort())
  return ports
}

/** Whether a server could listen on that port of 127.0.0.1 now. @throws Error if it may not be used at all */
export async function isFree(port: number): Promise<boolean> {
  const server = await listenOn(port)
  await new Promise((resolve) => (server ? server.close(resolve) : resolve(undefined)))
  return server !== undefined
}

/** @returns `undefined` if another process does */
function listenOn(port: number): Promise<Server | undefined> {
  return new Promise((resolve, reject) => {
    const server = createServer().once('error', (error: NodeJS.ErrnoException) =>
      error.code === 'EADDRINUSE' ? resolve(undefined) : reject(error),
    )
    server.listen(port, '127.0.0.1', () => resolve(server))
  })
}

/**
 * @param within milliseconds
 * @throws Error if nothing accepts a connection in that time, or `gaveUp()` says why nothing will
 */
export async function untilListening(
  port: number,
  within = 60_000,
  gaveUp: () => string | undefined = () => undefined,
  host = '127.0.0.1',
): Promise<void> {
  const end = Date.now() + within
  while (!(await accepts(port, host))) {
    const reason = gaveUp()
    if (reason) throw new Error(reason)
    if (Date.now() > end) throw new Error(`nothing listens on port ${port} after ${within} ms`)
    await sleep(25)
  }
}

function accepts(port: number, host: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, host)
    socket.once('connect', () => {
      socket.destroy()
      resolve(true)
    })
    socket.once('error', () => resolve(false))
  })
}
