// Free ports on loopback, and waiting until a server listens there.
import { connect, createServer } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'

/** @returns a port of 127.0.0.1 that nothing listened on a moment ago */
export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer().once('error', reject)
    server.listen(0, '127.0.0.1', () => {
      const address = server.address()
      server.close(() => resolve(typeof address === 'object' && address ? address.port : 0))
    })
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
): Promise<void> {
  const end = Date.now() + within
  while (!(await accepts(port))) {
    const reason = gaveUp()
    if (reason) throw new Error(reason)
    if (Date.now() > end) throw new Error(`nothing listens on port ${port} after ${within} ms`)
    await sleep(25)
  }
}

function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1')
    socket.once('connect', () => {
      socket.destroy()
      resolve(true)
    })
    socket.once('error', () => resolve(false))
  })
}
