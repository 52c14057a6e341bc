// The states in which the tests look at the status page.
import {
  type InstallReport,
  NO_HISTORY,
  type ProcessReport,
} from '../../plugins/gal-relay/report/install'
import type { Sample } from '../../plugins/gal-relay/report/samples'
import type { HarakaOptions } from './haraka'
import { busyInstall } from './install-report'

export interface PageState {
  readonly install: HarakaOptions
  report(now: number): InstallReport
  /** `?show=differences` */
  readonly query?: string
}

const INI = `[routes]
example.com = inbound
example.org = inbound smtp://exchange.corp.example
lists.example.com = accept lmtp://lists.corp.example:24
partner.example = always-relay
old.example.com = reroute example.com
[restrictions]
hosts[] = 192.168.1.0/24
hosts[] = 10.20.0.0/16
never[] = 192.168.1.66
[listener *:587]
authenticated = true
[ldap]
url[] = ldaps://dc1.corp.example
url[] = ldaps://dc2.corp.example
base = dc=corp
[http]
enabled = true
`
const LISTENERS = `[listener *:26]
enforce = relaying
[listener *:2525]
enabled = false
`

const changed = (
  report: InstallReport,
  change: (process: ProcessReport) => ProcessReport,
): InstallReport => ({ ...report, processes: report.processes.map(change) })

const withServers = (report: InstallReport, state: 'up' | 'down', now: number): InstallReport =>
  changed(report, (process) => ({
    ...process,
    directories: process.directories.map((directory) => ({
      ...directory,
      servers: directory.servers.map((server) =>
        state === 'up'
          ? { ...server, state, connections: 2, lastError: undefined, lastErrorAt: undefined }
          : {
              ...{ ...server, state, connections: 0, since: now - 640_000 },
              ...{ lastError: 'no answer within 2000 ms', lastErrorAt: now - 21_000 },
            },
      ),
    })),
  }))

const onlyObserved = ({ counters, refusals, ...report }: InstallReport): InstallReport => {
  const difference = (rule: string, verdict: string, answer: string, value: number): Sample => {
    return { name: 'differences', labels: { listener: '*:*', rule, verdict, answer }, value }
  }
  const observed = refusals.map((one) => ({ ...one, answered: '250' }))
  return {
    ...report,
    counters: [
      ...counters.map((one) =>
        one.name === 'answers' ? { ...one, labels: { ...one.labels, mode: 'observe' } } : one,
      ),
      difference('not-in-gal', 'refused', 'accepted', 2_499_000),
      difference('no-relay-nobody', 'refused', 'accepted', 1_402),
      difference('in-gal', 'accepted', 'refused', 312),
      difference('directory-unavailable', 'deferred', 'accepted', 5_208),
      { name: 'unanswered', labels: { listener: '*:*', verdict: 'refused' }, value: 1_042 },
    ],
    refusals: observed,
    recentDifferences: observed.map((one, index) =>
      index % 5 === 0
        ? {
            ...{ ...one, rule: 'in-gal', reply: '250', recipient: `alice${index}@example.com` },
            ...{ answered: '550 I cannot deliver mail for <alice>' },
            ...{ verdict: 'accepted' as const, answer: 'refused' as const },
          }
        : { ...one, verdict: 'refused' as const, answer: 'accepted' as const },
    ),
    refusedMost: { enforce: report.refusedMost.observe, observe: report.refusedMost.enforce },
  }
}

export const STATE_NAMES = ['quiet', 'well', 'degraded', 'broken', 'observing'] as const
export type StateName = (typeof STATE_NAMES)[number]

export const STATES: Readonly<Record<StateName, PageState>> = {
  quiet: {
    install: { ini: INI },
    report: (now) => ({ ...withServers(busyInstall(now), 'up', now), ...NO_HISTORY }),
  },
  well: { install: { ini: INI }, report: (now) => withServers(busyInstall(now), 'up', now) },
  degraded: { install: { ini: INI + LISTENERS }, report: busyInstall },
  broken: {
    install: { ini: INI },
    report: (now) => ({
      ...changed(withServers(busyInstall(now), 'down', now), (process) => ({
        ...process,
        reloadFailedAt: now - 300_000,
        reloadProblems: [
          'config/gal_relay.ini line 14: [ldap] ulr: there is no such key, probably meant: url',
          'config/gal_relay.ini line 3: [routes] example.net = inbuond: probably meant: inbound',
        ],
      })),
      failedAt: now - 200_000,
      counters: [...busyInstall(now).counters, { name: 'errors', labels: {}, value: 3 }],
    }),
  },
  observing: {
    install: {
      ini: `[main]\nenforce = false\n${INI.replace(/^lists.*\n/m, '')}`,
      hostList: ['example.com', 'example.org'],
      plugins: ['gal-relay', 'rcpt_to.in_host_list', 'test-queue'],
    },
    report: (now) => onlyObserved(withServers(busyInstall(now), 'up', now)),
    query: '?show=differences',
  },
}
