// One Haraka for many settings, one after the other, because starting it takes longer than most tests.
import { writeFileSync } from 'node:fs'
import path from 'node:path'
import { type Haraka, type HarakaOptions, startHaraka } from './haraka'

export interface SharedHaraka {
  /**
   * @param hostList the domains of `config/host_list`
   * @param use is given a Haraka with these settings
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
    async with(ini, hostList = [], use, more = {}) {
      const domains = hostList.map((domain) => `${domain}\n`).join('')
      const files = { ...options.files, 'config/host_list': domains, ...more }
      if (shared) {
        shared.forgetLog()
        for (const [file, text] of Object.entries(files)) {
          writeFileSync(path.join(shared.dir, file), text)
        }
        await shared.reload(ini)
      } else {
        shared = await startHaraka({ ...options, ini, files })
      }
      await use(shared)
    },
    async stop() {
      await shared?.stop()
    },
  }
}
