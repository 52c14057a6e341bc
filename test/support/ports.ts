// Free ports on loopback, and waiting until a server listens there.
import { randomInt } from 'node:crypto'
import { connect, createServer } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'

// Below the range that systems take client ports from, so that no outgoing connection of another
// test sits on the port when the server at last binds it.
const FIRST = 12_000
const LAST = 32_000

// A port on which nobody is meant to listen stays so, also for servers that start later.
const given = new Set<number>()

/** @returns a port of 127.0.0.1 that nothing listened on a moment ago, and not given before */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = randomInt(FIRST, LAST)
    if (given.has(port)) continue
    given.add(port)
    if (await isFree(port)) return port
  }
}

/** @returns that many different ports */
export async function freePorts(count: number): Promise<number[]> {
  const ports = new Set<number>()
  while (ports.size < count) ports.add(await freePort())
  return [...ports]
}

/** Whether a server could listen on that port of 127.0.0.1 now. @throws Error when it may not be used at all */
export function isFree(port: number): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const server = createServer().once('error', (error: NodeJS.ErrnoException) =>
      error.code === 'EADDRINUSE' ? resolve(false) : reject(error),
    )
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)))
  })
}

/**
 * @param within milliseconds
 * @throws Error when nothing accepts a connection in that time, or `gaveUp()` says why nothing will
 */
export async function untilListening(
  port: number,
  within = 15_000,
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
