// Address lists for the tests in this folder: default settings, short functions that ask, and a log that
// can be read.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import type { GalAnswer } from '../../plugins/gal-relay/gal/address-list'
import {
  createAddressList,
  type GlobalAddressList,
} from '../../plugins/gal-relay/gal/global-address-list'
import type { Log } from '../../plugins/gal-relay/log'
import { recipientOf } from '../../plugins/gal-relay/routing/recipient'
import type {
  GalSettings,
  LdapSettings,
  ServerUrl,
  SnapshotSettings,
} from '../../plugins/gal-relay/settings/settings'
import { until } from '../support/until'

export const GAL: GalSettings = {
  mode: 'live',
  attributes: ['proxyAddresses', 'mail'],
  filter: '(objectClass=*)',
  any_domain: false,
  always_accept: ['postmaster'],
  recipient_delimiter: '',
  x500: false,
  authenticated_only_attribute: 'msExchRequireAuthToSendTo',
  host_attribute: '',
  routing_attribute: '',
  cache_found: 0,
  cache_absent: 0,
  cache_stale: 0,
  cache_size: 1000,
}

/** With timeouts that no machine reaches, however busy. */
export const LDAP: LdapSettings = {
  url: [],
  base: ['dc=corp,dc=test'],
  bind_method: 'simple',
  bind_dn: '',
  bind_password: '',
  bind_password_file: '',
  dereference: 'never',
  starttls: false,
  tls_ca: '',
  tls_cert: '',
  tls_key: '',
  tls_verify: true,
  connections: 2,
  connect_timeout: 20_000,
  query_timeout: 20_000,
  answer_within: 60_000,
  retry_after: { least: 1000, most: 30_000 },
  referrals: 'report',
  referral_hosts: [],
}

export const SNAPSHOT: SnapshotSettings = {
  file: '/nonexistent/gal_relay.snapshot',
  full_every: 6 * 3_600_000,
  changes_every: 30_000,
  usable_for: 7 * 86_400_000,
  shrink_limit: 0.2,
  share: 'none',
  key_file: '',
  received_from: '',
}

/** `ldap://host:port`, `ldaps://host:port` or `srv://domain` */
export function serverUrl(text: string): ServerUrl {
  const [, socket] = /^ldapi:\/\/(.*)$/.exec(text) ?? []
  if (socket) return { scheme: 'ldapi', host: decodeURIComponent(socket), port: 0, text }
  const { protocol, hostname, port } = new URL(text)
  const scheme = protocol.slice(0, -1) as ServerUrl['scheme']
  return { scheme, host: hostname, port: Number(port), text }
}

/** A log that keeps its lines, as `level text`. */
export interface RecordedLog extends Log {
  readonly lines: string[]
}

export function recordedLog(): RecordedLog {
  const lines: string[] = []
  const level = (name: string) => (text: string) => void lines.push(`${name} ${text}`)
  return {
    lines,
    debug: level('debug'),
    info: level('info'),
    notice: level('notice'),
    warn: level('warn'),
    error: level('error'),
  }
}

export interface TestList extends GlobalAddressList {
  readonly log: RecordedLog
  /** @returns `found`, `found authenticated`, `absent` or `unavailable` */
  ask(address: string): Promise<string>
  /** Waits until the list says so by itself, without asking the directory. */
  becomes(address: string, state: string, within?: number): Promise<void>
  /** @returns the whole answer */
  answer(address: string): Promise<GalAnswer>
}

/** The one process that keeps all lists in memory of a test file. */
export interface KeepingProcess {
  /** @returns the path of a file for one more list */
  newFile(): string
  /** Ends the process and removes the files. */
  stop(): Promise<void>
}

/** Starting a process for each list takes longer than reading a small list. */
export function startKeepingProcess(): KeepingProcess {
  const folder = mkdtempSync(path.join(tmpdir(), 'gal-lists-'))
  let count = 0
  const newFile = () => path.join(folder, `list${++count}`)
  // The process lives as long as it keeps any list. This one is never read, because nothing listens there.
  const url = [serverUrl('ldap://127.0.0.1:1')]
  const list = testList({ url }, { mode: 'snapshot' }, { file: newFile() })
  list.start()
  return {
    newFile,
    async stop() {
      await list.close()
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

/** A list that is not cached, unless the settings say so. */
export function testList(
  ldap: Partial<LdapSettings>,
  gal: Partial<GalSettings> = {},
  snapshot: Partial<SnapshotSettings> = {},
): TestList {
  const log = recordedLog()
  const settings = {
    gal: { ...GAL, ...gal },
    ldap: { ...LDAP, ...ldap },
    snapshot: { ...SNAPSHOT, ...snapshot },
  }
  const list = createAddressList(settings, log)
  const answer = async (address: string) => {
    const at = address.lastIndexOf('@')
    return list.lookup(recipientOf(address.slice(0, at), address.slice(at + 1)))
  }
  const ask = async (address: string) => {
    const given = await answer(address)
    return given.state === 'found' && given.authenticatedOnly ? 'found authenticated' : given.state
  }
  return {
    ...list,
    log,
    answer,
    ask,
    becomes(address, state, within) {
      let last = ''
      return until(
        async () => {
          const asked = list.report().snapshot?.asked
          const said = await ask(address)
          last = list.report().snapshot?.asked === asked ? said : `${said}, asked live`
          return last === state
        },
        () => `${address} is ${state}; it is ${last}\n${log.lines.slice(-10).join('\n')}`,
        within,
      )
    },
  }
}
