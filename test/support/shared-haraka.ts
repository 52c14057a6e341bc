// One Haraka for many settings, one after the other, because starting it takes longer than most tests.
import { writeFileSync } from 'node:fs'
import path from 'node:path'
import { type Haraka, type HarakaOptions, startHaraka } from './haraka'

export interface SharedHaraka {
  /**
   * @param hostList Haraka reads it at start, so settings with one get their own Haraka
   * @param use called with a Haraka that has these settings
   * @param files that the settings name
   */
  with(
    ini: string,
    hostList: readonly string[] | undefined,
    use: (haraka: Haraka) => Promise<void>,
    files?: HarakaOptions['files'],
  ): Promise<void>
  stop(): Promise<void>
}

export function sharedHaraka(options: HarakaOptions): SharedHaraka {
  let shared: Haraka | undefined
  return {
    async with(ini, hostList = [], use, files = {}) {
      if (hostList.length > 0) {
        const own = await startHaraka({
          ...options,
          ini,
          hostList,
          files: { ...options.files, ...files },
        })
        try {
          await use(own)
        } finally {
          await own.stop()
        }
        return
      }
      if (shared) {
        shared.forgetLog()
        for (const [file, text] of Object.entries(files)) {
          writeFileSync(path.join(shared.dir, file), text)
        }
        await shared.reload(ini)
      } else {
        shared = await startHaraka({ ...options, ini, files: { ...options.files, ...files } })
      }
      await use(shared)
    },
    async stop() {
      await shared?.stop()
    },
  }
}
