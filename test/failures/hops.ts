// Next hops over TLS that behave well or badly.
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'
import { createServer as createTlsServer } from 'node:tls'
import type { Certificate } from '../support/certificates'

export type Conduct =
  /** Takes all mail. */
  | 'good'
  /** Says nothing at all. */
  | 'silent'
  /** Closes the connection instead of sending a greeting. */
  | 'closes'
  /** Resets the connection instead of answering EHLO. */
  | 'resets'
  /** Resets the connection instead of answering MAIL. */
  | 'resets later'

export interface Hop {
  readonly port: number
  /** The number of messages it has taken. */
  readonly taken: number
  stop(): Promise<void>
}

export async function startHop(certificate: Certificate, conduct: Conduct): Promise<Hop> {
  const [cert, key] = [readFileSync(certificate.cert), readFileSync(certificate.key)]
  const sockets = new Set<Socket>()
  let taken = 0
  const raw = new Map<number | undefined, Socket>()
  const reset = ({ remotePort }: Socket) => void raw.get(remotePort)?.resetAndDestroy()
  const speak = (socket: Socket) => {
    sockets.add(socket)
    socket.on('error', () => {})
    if (conduct === 'closes') return socket.end()
    socket.write('220 hop.test ESMTP\r\n')
    let rest = ''
    let isData = false
    socket.setEncoding('latin1').on('data', (text: string) => {
      const lines = (rest + text).split('\r\n')
      rest = lines.pop() ?? ''
      for (const line of lines) {
        if (isData && line !== '.') continue
        const verb = line.split(/[ :]/)[0] ?? ''
        if (conduct === 'resets' && verb === 'EHLO') return reset(socket)
        if (conduct === 'resets later' && verb === 'MAIL') return reset(socket)
        if (line === '.') taken++
        isData = verb === 'DATA'
        socket.write(isData ? '354 go on\r\n' : '250 fine\r\n')
      }
    })
  }
  const server: Server =
    conduct === 'silent' ? createServer(() => {}) : createTlsServer({ cert, key }, speak)
  server.on('connection', (socket) => {
    raw.set(socket.remotePort, socket)
    sockets.add(socket)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    port: (server.address() as AddressInfo).port,
    get taken() {
      return taken
    },
    async stop() {
      server.close()
      for (const socket of sockets) socket.destroy()
      await once(server, 'close')
    },
  }
}
