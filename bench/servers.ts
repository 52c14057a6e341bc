// The Harakas of a benchmark. Each figure is that of a new process. With `--try`, where figures mean
// nothing, a server that is done stays, and serves whatever needs the same plugins next, after a reload.
import { type Haraka, type HarakaOptions, startHaraka } from '../test/support/haraka'

interface Server {
  readonly haraka: Haraka
  /** Its options apart from `ini`. */
  readonly kind: string
  ini: string | undefined
}

let isReusing = false
const running = new Map<Haraka, Server>()
const idle = new Set<Server>()

/** From now on, `stopServer` keeps servers for `startServer` until `stopIdleServers`. */
export function reuseServers(): void {
  isReusing = true
}

export async function startServer(options: HarakaOptions): Promise<Haraka> {
  const { ini, ...others } = { proxy: false, ...options }
  const kind = JSON.stringify(others)
  const server = [...idle].find((one) => one.kind === kind)
  if (!server) {
    const haraka = await startHaraka({ ...others, ini })
    running.set(haraka, { haraka, kind, ini })
    return haraka
  }
  idle.delete(server)
  const { haraka } = server
  running.set(haraka, server)
  haraka.forgetLog()
  if (ini !== undefined && ini !== server.ini) await haraka.reload(ini)
  server.ini = ini
  return haraka
}

export async function stopServer(haraka: Haraka): Promise<void> {
  const server = running.get(haraka)
  running.delete(haraka)
  if (isReusing && server) idle.add(server)
  else await haraka.stop()
}

export async function stopIdleServers(): Promise<void> {
  await Promise.all([...idle].map(({ haraka }) => haraka.stop()))
  idle.clear()
}
