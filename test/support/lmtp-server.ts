// An LMTP server for a test (RFC 2033). Unlike with a sink, the test chooses the reply for each recipient after
// the message.
import { once } from 'node:events'
import { type AddressInfo, createServer, type Socket } from 'node:net'

export interface LmtpServer {
  readonly port: number
  /** The recipients with a positive reply, in order. One may be there twice. */
  readonly taken: readonly string[]
  stop(): Promise<void>
}

/** @param answer the reply line for a recipient's copy: `250 2.0.0 OK`, `450 4.2.0 later` */
export async function startLmtp(answer: (recipient: string) => string): Promise<LmtpServer> {
  const taken: string[] = []
  const sockets = new Set<Socket>()
  const server = createServer((socket) => {
    sockets.add(socket)
    socket.once('close', () => sockets.delete(socket))
    socket.on('error', () => {})
    serve(socket, answer, taken)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    port: (server.address() as AddressInfo).port,
    taken,
    async stop() {
      server.close()
      for (const socket of sockets) socket.destroy()
      await once(server, 'close')
    },
  }
}

function serve(socket: Socket, answer: (recipient: string) => string, taken: string[]): void {
  let recipients: string[] = []
  let inData = false
  let rest = ''
  const say = (line: string) => socket.write(`${line}\r\n`)
  say('220 lmtp.test LMTP')
  socket.setEncoding('utf8').on('data', (text: string) => {
    const lines = (rest + text).split('\r\n')
    rest = lines.pop() ?? ''
    for (const line of lines) {
      if (inData) {
        if (line !== '.') continue
        inData = false
        for (const recipient of recipients.splice(0)) {
          const reply = answer(recipient)
          if (reply.startsWith('2')) taken.push(recipient)
          say(reply)
        }
      } else if (/^LHLO/i.test(line)) say('250 lmtp.test')
      else if (/^DATA/i.test(line)) {
        inData = true
        say('354 go on')
      } else if (/^QUIT/i.test(line)) {
        say('221 bye')
        socket.end()
      } else {
        const [, recipient] = /^RCPT TO:<(.*?)>/i.exec(line) ?? []
        if (recipient) recipients = [...recipients, recipient]
        if (/^(MAIL|RSET)/i.test(line)) recipients = []
        say('250 2.0.0 OK')
      }
    }
  })
}
