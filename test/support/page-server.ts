// The status page of an install in which no Haraka runs. Its settings are read from its files, and the
// reports of its processes are made up.
import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createServer } from 'node:http'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { PAGE_PATH, statusPage } from '../../plugins/gal-relay/page/status-page'
import type { InstallReport } from '../../plugins/gal-relay/report/install'
import { loadSettings } from '../../plugins/gal-relay/settings/load'
import { type HarakaOptions, writeInstall } from './haraka'

export interface PageServer {
  readonly url: string
  /** The install's folder. */
  readonly dir: string
  /** Called for each request. */
  report: (now: number) => InstallReport
  close(): void
}

export async function servePage(
  options: HarakaOptions,
  report: (now: number) => InstallReport,
): Promise<PageServer> {
  const dir = mkdtempSync(path.join(tmpdir(), 'install-'))
  writeInstall(dir, [25], options)
  const config = configIn(dir)
  const { settings, ignored } = loadSettings(config)
  const serve = statusPage({
    name: 'mail.example.com',
    config,
    plugin: 'gal-relay',
    version: '3.3.4',
    grammar: {},
    plugins: () => [],
    settings: () => settings,
    ignored: () => ignored,
    lists: () => ({
      report: () => [],
      lookupIn: async () => ({ directory: 'default', answer: { state: 'absent' } }),
    }),
    reports: { collect: async () => page.report(Date.now()), close: () => {} },
  })
  const server = createServer((request, response) => {
    request.url = request.url?.slice(PAGE_PATH.length)
    serve(request, response, () => response.writeHead(404).end())
  }).listen(0, '127.0.0.1')
  await new Promise((resolve) => server.once('listening', resolve))
  const address = server.address()
  assert.ok(address && typeof address === 'object')
  const page: PageServer = {
    url: `http://127.0.0.1:${address.port}${PAGE_PATH}/`,
    dir,
    report,
    close() {
      server.close()
      rmSync(dir, { recursive: true, force: true })
    },
  }
  return page
}

/** The config object that Haraka gives its plugins, for an install that does not change. */
export function configIn(dir: string): Haraka.Config {
  const folder = path.join(dir, 'config')
  return {
    get: (name) => readFileSync(path.join(folder, name)),
    root_path: folder,
    overrides_path: folder,
  }
}
