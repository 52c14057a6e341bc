// Lets one process at a time write a list to a file: the one that holds the name of an abstract
// socket (unix(7)). The system frees the name however that process ends. Only Linux has such names,
// and each machine has its own.
import { createHash } from 'node:crypto'
import { realpath } from 'node:fs/promises'
import { createServer, type Socket } from 'node:net'
import path from 'node:path'
import { guard } from '../guard'

/**
 * @returns a function that releases the lock
 * @throws Error if another process holds the lock, or there is no such folder
 */
export async function lockFile(file: string): Promise<() => void> {
  if (process.platform !== 'linux') return () => {}
  const whole = path.join(await realpath(path.dirname(file)), path.basename(file))
  const name = `gal-relay ${createHash('sha256').update(whole).digest('hex')}`
  const turnAway = (socket: Socket) => socket.destroy()
  const server = createServer(guard('connection to the lock of a file', turnAway))
  const isOurs = await new Promise<boolean>((resolve) => {
    // Any other error means that this system has no such names. That must not stop anybody.
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
