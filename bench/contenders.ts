// The servers to compare: all answer RCPT TO from the same list.
import { execFile } from 'node:child_process'
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { promisify } from 'node:util'
import type { HarakaOptions } from '../test/support/haraka'
import { startPostfix } from '../test/support/postfix'
import { type Child, startChild } from '../test/support/processes'
import { findProgram } from '../test/support/programs'
import { type Slapd, startSlapd } from '../test/support/slapd'
import { cpuOf } from './cpu'
import { startServer, stopServer } from './servers'

export interface Running {
  readonly port: number
  readonly pid: number
  /** User and system time of all its processes so far, in microseconds. */
  cpu(): number
  /** Discards what it has logged. */
  forget(): void
  stop(): Promise<void>
}

export interface Contender {
  readonly name: string
  start(): Promise<Running>
}

export const user = (i: number) => `user${i}@example.com`

/** The number of servers that hold the mailboxes. */
const HOSTS = 4

/** The distance to the directory in some rows, in milliseconds. */
const AWAY = 4

/** A directory, near and far. */
export interface Site {
  readonly slapd: Slapd
  /** The URL at which it appears some milliseconds away; only if asked for. */
  readonly away: string
  stop(): Promise<void>
}

/** @param isAway whether the directory is needed at a distance too */
export async function startSite(entries: number, isAway = false): Promise<Site> {
  const slapd = await startSlapd({
    entries: (function* () {
      for (let i = 0; i < entries; i++) {
        const proxyAddresses = [`SMTP:${user(i)}`, `smtp:u${i}@example.com`]
        yield { mail: user(i), proxyAddresses, mailHost: `ex${i % HOSTS}` }
      }
    })(),
  })
  const far = isAway ? await delayed(slapd) : undefined
  return {
    slapd,
    away: far?.url ?? '',
    async stop() {
      await far?.child.end()
      await slapd.stop()
    },
  }
}

async function delayed(slapd: Slapd): Promise<{ url: string; child: Child }> {
  const script = require.resolve('./delay-proxy')
  const child = await startChild(process.execPath, [script, String(slapd.port), String(AWAY)])
  const port = (await child.waitForLine(/^port \d+$/)).slice(5)
  return { url: `ldap://127.0.0.1:${port}`, child }
}

// ── Haraka ───────────────────────────────────────────────────────────────────────────────────────

const setPlugin = (entries: number) => `
const valid = new Set()
for (let i = 0; i < ${entries}; i++) valid.add('user' + i + '@example.com')
exports.hook_rcpt = (next, connection, [address]) =>
  valid.has(address.address) ? next(OK) : next(DENY, 'No such user')
`

/** As fast as any plugin can be. */
export function javascriptSet(entries: number): Contender {
  const files = { 'plugins/bench-set.js': setPlugin(entries) }
  return haraka('a JavaScript Set', { plugins: ['bench-set'], files })
}

// The least that a plugin can do with a message.
const QUEUE_PLUGIN = 'exports.hook_queue = (next) => next(OK)\n'

// The hooks that this plugin has in the way of a message, beside rcpt.
const EMPTY_HOOKS = `
for (const hook of ['connect', 'mail', 'data', 'data_post', 'queue'])
  exports['hook_' + hook] = (next) => next()
`

/**
 * Servers with the same queue plugin: the Set, the Set with hooks that do nothing, and this plugin with
 * remembered answers.
 */
export function takingMessages(
  site: Site,
  entries: number,
): Record<'set' | 'emptyHooks' | 'plugin', Contender> {
  const queue = { 'plugins/bench-queue.js': QUEUE_PLUGIN }
  const withSet = (name: string, more = '') =>
    haraka(name, {
      logLevel: 'error',
      plugins: ['bench-set', 'bench-queue'],
      files: { ...queue, 'plugins/bench-set.js': setPlugin(entries) + more },
    })
  return {
    set: withSet('a JavaScript Set'),
    emptyHooks: withSet('a JavaScript Set and empty hooks', EMPTY_HOOKS),
    plugin: haraka('live, warm', {
      ...liveOptions(site, 'warm', 'near'),
      logLevel: 'error',
      plugins: ['gal-relay', 'bench-queue'],
      files: queue,
    }),
  }
}

/** @param gal lines for the section [gal], and further sections after it */
export function iniOf(
  { url, base, bindDn, password }: Pick<Slapd, 'url' | 'base' | 'bindDn' | 'password'>,
  gal: readonly string[],
): string {
  return `
[routes]
example.com = inbound
[ldap]
url[] = ${url}
base = ${base}
bind_dn = ${bindDn}
bind_password = ${password}
[gal]
${gal.join('\n')}
`
}

/** Asks the directory for each recipient or, if warm, remembers them. */
export function live(site: Site, state: 'cold' | 'warm', where: 'near' | 'away'): Contender {
  const name = `live, ${state}${where === 'near' ? '' : `, ${AWAY} ms away`}`
  return haraka(name, liveOptions(site, state, where))
}

/** Like {@link live}, near and warm, with further sections in gal_relay.ini. */
export function liveWith(site: Site, name: string, more: string): Contender {
  const options = liveOptions(site, 'warm', 'near')
  return haraka(name, { ...options, ini: `${options.ini}\n${more}\n` })
}

function liveOptions(
  { slapd, away }: Site,
  state: 'cold' | 'warm',
  where: 'near' | 'away',
): HarakaOptions {
  const time = state === 'warm' ? '1h' : '0s'
  const gal = [`cache_found = ${time}`, `cache_absent = ${time}`, 'cache_stale = 0s']
  const url = where === 'near' ? slapd.url : away
  return { proxy: false, ini: iniOf({ ...slapd, url }, gal) }
}

/** Like {@link live}, near, with a directory that says on which server each mailbox is. */
export function hosted(site: Site, state: 'cold' | 'warm'): Contender {
  const options = liveOptions(site, state, 'near')
  const hosts = Array.from({ length: HOSTS }, (_, i) => `ex${i} = smtp://192.0.2.${i + 1}`)
  const ini = `${options.ini}host_attribute = mailHost\n[hosts]\n${hosts.join('\n')}\n`
  return haraka(`live, ${state}, by server`, { ...options, ini })
}

/** The whole list in memory. */
export function snapshot(site: Site): Contender {
  return haraka('snapshot', snapshotOptions(site), READY)
}

/** @param more lines for the section [snapshot] */
export function snapshotOptions(site: Site, more: readonly string[] = []): HarakaOptions {
  const gal = ['mode = snapshot', '[snapshot]', ...more]
  return { proxy: false, ini: iniOf(site.slapd, gal) }
}

/** Logged when Haraka has the list in memory. */
export const READY = /snapshot: \d+ recipients/

// Switches logging and metrics of answers off and on at a signal.
const SWITCH_PLUGIN = `
const reply = require(${JSON.stringify(require.resolve('../plugins/gal-relay/hooks/reply'))})
const { reportAccepted, reportRefused } = reply
let on = true
process.on('SIGUSR2', () => {
  on = !on
  reply.reportAccepted = on ? reportAccepted : () => {}
  reply.reportRefused = on ? reportRefused : () => {}
})
`

/** Remembered answers, with a log and metrics that can be switched off and on. */
export function switched(site: Site): { contender: Contender; toggle(): void } {
  const options = {
    ...liveOptions(site, 'warm', 'near'),
    plugins: ['bench-switch', 'gal-relay', 'test-queue'],
    files: { 'plugins/bench-switch.js': SWITCH_PLUGIN },
  }
  const { name, start } = haraka('metrics and log', options)
  let pid = 0
  return {
    contender: {
      name,
      async start() {
        const running = await start()
        pid = running.pid
        return running
      },
    },
    toggle: () => process.kill(pid, 'SIGUSR2'),
  }
}

export function haraka(name: string, options: HarakaOptions, ready?: RegExp): Contender {
  return {
    name,
    async start() {
      const running = await startServer(options)
      if (ready) await running.waitForLog(ready, 300_000)
      return {
        port: running.port,
        pid: running.pid,
        cpu: () => cpuOf(running.pid),
        forget: () => running.forgetLog(),
        stop: () => stopServer(running),
      }
    },
  }
}

// ── Postfix ──────────────────────────────────────────────────────────────────────────────────────

/** Turns off everything that slows down a client with many unknown recipients. */
const UNHURRIED = [
  'smtpd_error_sleep_time = 0s',
  'smtpd_soft_error_limit = 1000000000',
  'smtpd_hard_error_limit = 1000000000',
  'smtpd_junk_command_limit = 1000000000',
  'smtpd_recipient_overshoot_limit = 1000000000',
  'virtual_mailbox_domains = example.com',
]

export function postfixLdap({ slapd }: Site): Contender {
  return postfix('Postfix, proxy:ldap', (folder) => {
    const file = path.join(folder, 'ldap.cf')
    const lines = {
      server_host: slapd.url,
      version: '3',
      search_base: slapd.base,
      bind: 'yes',
      bind_dn: slapd.bindDn,
      bind_pw: slapd.password,
      query_filter: '(|(proxyAddresses=smtp:%s)(mail=%s))',
      result_attribute: 'mail',
    }
    writeFileSync(
      file,
      Object.entries(lines)
        .map((line) => `${line.join(' = ')}\n`)
        .join(''),
    )
    return [`virtual_mailbox_maps = proxy:ldap:${file}`]
  })
}

export function postfixHash(entries: number): Contender {
  return postfix('Postfix, hash:', async (folder) => {
    const file = path.join(folder, 'recipients')
    const lines = Array.from({ length: entries }, (_, i) => `${user(i)} OK\n`)
    writeFileSync(file, lines.join(''))
    writeFileSync(path.join(folder, 'main.cf'), '')
    await promisify(execFile)('postmap', ['-c', folder, `hash:${file}`])
    return [`virtual_mailbox_maps = hash:${file}`]
  })
}

function postfix(
  name: string,
  settings: (folder: string) => string[] | Promise<string[]>,
): Contender {
  return {
    name,
    async start() {
      const folder = mkdtempSync(path.join(tmpdir(), 'bench-postfix-'))
      chmodSync(folder, 0o755)
      const own = await settings(folder)
      const running = await startPostfix({ settings: [...UNHURRIED, ...own] })
      return {
        port: running.port,
        pid: running.pid,
        cpu: () => cpuOf(running.pid),
        forget() {},
        async stop() {
          await running.stop()
          rmSync(folder, { recursive: true })
        },
      }
    },
  }
}

/** Whether Postfix is installed and supports tables of this kind. */
export async function hasPostfix(table: 'hash' | 'ldap'): Promise<boolean> {
  if (process.getuid?.() !== 0 || !findProgram('postconf')) return false
  const folder = mkdtempSync(path.join(tmpdir(), 'bench-postfix-'))
  try {
    writeFileSync(path.join(folder, 'main.cf'), '')
    const { stdout } = await promisify(execFile)('postconf', ['-c', folder, '-m'])
    return stdout.split('\n').includes(table)
  } finally {
    rmSync(folder, { recursive: true })
  }
}
