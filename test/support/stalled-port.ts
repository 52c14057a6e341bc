// A port on which connecting hangs: its process is stopped, and its queue of connections is full.
import { connect, type Socket } from 'node:net'
import { startChild } from './processes'

export interface StalledPort {
  readonly port: number
  /** Accepts connections from now on, including those that are waiting. */
  resume(): void
  stop(): Promise<void>
}

const LISTEN = `
const server = require('node:net').createServer()
const port = Number(process.argv[1])
server.listen({ host: process.argv[2], port, backlog: 1 }, () => console.log('port', server.address().port))
`

/** @param wanted the port; default: a free one */
export async function startStalledPort(wanted = 0, host = '127.0.0.1'): Promise<StalledPort> {
  const child = await startChild(process.execPath, ['-e', LISTEN, String(wanted), host])
  const port = Number((await child.waitForLine(/port \d+/)).replace(/.*port /, ''))
  process.kill(child.pid, 'SIGSTOP')
  const sockets: Socket[] = []
  // The queue holds a few connections. It is full when one gets no answer.
  for (let isFull = false; !isFull; ) {
    const socket = connect(port, host).on('error', () => {})
    sockets.push(socket)
    isFull = await new Promise((resolve) => {
      const timer = setTimeout(() => resolve(true), 300)
      socket.once('connect', () => {
        clearTimeout(timer)
        resolve(false)
      })
    })
  }
  return {
    port,
    resume: () => {
      process.kill(child.pid, 'SIGCONT')
    },
    async stop() {
      for (const socket of sockets) socket.destroy()
      await child.end('SIGKILL')
    },
  }
}
