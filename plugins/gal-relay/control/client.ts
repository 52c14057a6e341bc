// The client side of the socket, by which the gal-relay command asks a running server.
import { connect } from 'node:net'
import { guard } from '../guard'

/** Milliseconds; the server has the same limit. */
const ANSWERED_WITHIN = 12_000

/** No server answers; the message says why. */
export class NoServer extends Error {}

/**
 * @returns the answer of the command's handler
 * @throws NoServer, or an Error with the server's reason for refusing the request
 */
export function askServer(
  file: string,
  request: Readonly<Record<string, unknown>> & { readonly command: string },
): Promise<unknown> {
  return new Promise((resolve, reject) => {
    let text = ''
    const socket = connect(file)
    const fail = (reason: string) => {
      socket.destroy()
      reject(new NoServer(`no running server answers at ${file}: ${reason}`))
    }
    const send = () => socket.write(`${JSON.stringify(request)}\n`)
    const read = (piece: string) => {
      text += piece
    }
    const end = () => {
      socket.destroy()
      const reply =
        text && (JSON.parse(text) as { readonly answer?: unknown; readonly error?: string })
      if (!reply) fail('it closed the connection')
      else if (reply.error === undefined) resolve(reply.answer)
      else reject(new Error(reply.error))
    }
    socket.setEncoding('utf8')
    socket.setTimeout(ANSWERED_WITHIN)
    socket.on('connect', guard('connection to the server', send))
    socket.on('data', guard('answer of the server', read))
    socket.on('end', guard('end of the answer of the server', end))
    socket.on(
      'timeout',
      guard('time-out of the server', () => fail('it does not answer')),
    )
    socket.on(
      'error',
      guard('error of the socket to the server', (error: Error) => fail(error.message)),
    )
  })
}
