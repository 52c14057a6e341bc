// One process at a time writes a list to a file: the one that has a name which the system takes back when that
// process ends, however it ends (an abstract socket, unix(7)). Only Linux has such names, and each machine its own.
import { createHash } from 'node:crypto'
import { realpath } from 'node:fs/promises'
import { createServer, type Socket } from 'node:net'
import path from 'node:path'
import { guard } from '../guard'

/**
 * @returns gives it up
 * @throws Error when another process has it, or there is no such folder
 */
export async function lockFile(file: string): Promise<() => void> {
  if (process.platform !== 'linux') return () => {}
  const whole = path.join(await realpath(path.dirname(file)), path.basename(file))
  const name = `gal-relay ${createHash('sha256').update(whole).digest('hex')}`
  const turnAway = (socket: Socket) => socket.destroy()
  const server = createServer(guard('connection to the lock of a file', turnAway))
  const isOurs = await new Promise<boolean>((resolve) => {
    // Any other reason: this system has no such names, and nobody is held up for that.
    const failed = ({ code }: NodeJS.ErrnoException) => resolve(code !== 'EADDRINUSE')
    const given = () => resolve(true)
    server.on(
      'error',
      guard('lock of a file that is not given', failed, () => resolve(true)),
    )
    server.on('listening', guard('lock of a file', given, given))
    server.listen({ path: `\0${name}`, exclusive: true })
  })
  if (!isOurs) throw new Error(`another process publishes to ${file} already`)
  server.unref()
  return () => server.close()
}
