// One Haraka for many settings, one after the other: starting it takes longer than most questions to it.
import { type Haraka, type HarakaOptions, startHaraka } from './haraka'

export interface SharedHaraka {
  /**
   * @param hostList read when Haraka starts: with one it has a Haraka of its own
   * @param use is given a Haraka with these settings
   */
  with(
    ini: string,
    hostList: readonly string[] | undefined,
    use: (haraka: Haraka) => Promise<void>,
  ): Promise<void>
  stop(): Promise<void>
}

export function sharedHaraka(options: HarakaOptions): SharedHaraka {
  let shared: Haraka | undefined
  return {
    async with(ini, hostList = [], use) {
      if (hostList.length > 0) {
        const own = await startHaraka({ ...options, ini, hostList })
        try {
          await use(own)
        } finally {
          await own.stop()
        }
        return
      }
      if (shared) {
        shared.forgetLog()
        await shared.reload(ini)
      } else shared = await startHaraka({ ...options, ini })
      await use(shared)
    },
    async stop() {
      await shared?.stop()
    },
  }
}
