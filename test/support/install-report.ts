// Reports like those of a busy install, for tests of the pages that show them.

import type { SnapshotReport } from '../../plugins/gal-relay/gal/snapshot/snapshot-list'
import { DURATIONS } from '../../plugins/gal-relay/ldap/health'
import type { RecentRefusal, RefusedMost } from '../../plugins/gal-relay/report/counts'
import {
  type InstallReport,
  type ProcessReport,
  reportOf,
} from '../../plugins/gal-relay/report/install'
import type { Sample } from '../../plugins/gal-relay/report/samples'

/** What an overview has besides settings and report, if all is well. */
export const OVERVIEW = {
  name: 'mx.example.com',
  versions: { plugin: '1.2.3', haraka: '3.3.4', node: '22.1.0' },
  findings: { bad: [], doubtful: [] },
  queue: { messages: 0, isCut: false, unreadable: 0, byHop: [], byMx: [] },
  asked: new URLSearchParams(),
} as const

const answers = (rule: string, code: string, value: number, listener = '*:*'): Sample => {
  const verdict = code === '250' ? 'accepted' : code < '500' ? 'deferred' : 'refused'
  return { name: 'answers', labels: { listener, mode: 'enforce', verdict, code, rule }, value }
}

/** Ten million answers in two processes, two directory servers, of which one is down, and 200 refusals. */
export function busyInstall(now: number, snapshot?: SnapshotReport): InstallReport {
  const servers = ['ldaps://dc1.corp.example', 'ldaps://dc2.corp.example']
  const counters: Sample[] = [
    answers('in-gal', '250', 3_102_443),
    answers('not-in-gal', '550', 1_250_021),
    answers('no-relay-nobody', '550', 402_118),
    answers('relay-authenticated', '250', 191_204, '*:587'),
    answers('relay-hosts', '250', 40_102),
    answers('routes-onward', '550', 9_120),
    answers('directory-unavailable', '451', 2_604),
    answers('authenticated-only', '550', 1_908),
    answers('always-relay', '250', 380),
    answers('postmaster', '250', 100),
    ...servers.flatMap((server, index): Sample[] => [
      {
        name: 'searches',
        labels: { directory: 'default', server, result: 'answered' },
        value: 402_000 - index * 401_000,
      },
      {
        name: 'searches',
        labels: { directory: 'default', server, result: 'timeout' },
        value: index * 14,
      },
      {
        name: 'search_time',
        labels: { directory: 'default', server },
        value: 1_206_000 - index * 1_202_000,
      },
      ...DURATIONS.map((bound, step): Sample => {
        return {
          name: 'search_durations',
          labels: { directory: 'default', server, bound: String(bound) },
          value: step,
        }
      }),
    ]),
    { name: 'cache_lookups', labels: { directory: 'default', result: 'hit' }, value: 3_951_000 },
    { name: 'cache_lookups', labels: { directory: 'default', result: 'miss' }, value: 403_014 },
    { name: 'cache_lookups', labels: { directory: 'default', result: 'stale' }, value: 0 },
    { name: 'errors', labels: {}, value: 0 },
  ]
  const minute = Math.floor(now / 60_000)
  const day = 86_400_000
  const one = (pid: number): ProcessReport => ({
    pid,
    startedAt: now - 12 * day,
    settingsSince: now - 3 * day,
    reloadFailedAt: undefined,
    reloadProblems: [],
    recentDifferences: [],
    refusedMost: { enforce: pid === 1 ? REFUSED_MOST : NOBODY, observe: NOBODY },
    failedAt: undefined,
    counters,
    minutes: Array.from({ length: 60 }, (_, index) => {
      const wave = 1 + Math.sin(index / 9) / 3 + ((index * 7) % 5) / 20
      return {
        minute: minute - 59 + index,
        accepted: Math.round(190 * wave),
        refused: Math.round(95 * wave + ((index * 13) % 17)),
        deferred: index > 37 && index < 43 ? 12 + index : 0,
      }
    }),
    refusals: pid === 1 ? refusals(now) : [],
    harvest: {
      counted: { unknown: 18_000, held: 12, slowed: 240 },
      deferred: { connect: 3_100, rcpt: 14 },
      heldNow: 2,
      holds: [
        {
          ...{
            network: '203.0.113.9',
            observed: false,
            since: now - 100_000,
            until: now + 1_700_000,
          },
          // The process that gets it from the other one knows less.
          ...(pid === 1
            ? { unknown: 31, all: 33, server: 'mx1.test' }
            : { unknown: 0, all: 0, server: '' }),
        },
        {
          ...{ network: '2001:db8:1:2::/64', observed: true, since: now - 900_000 },
          ...{ until: now + 900_000, unknown: 30, all: 30, server: 'mx2.test' },
        },
      ],
      redis: { server: 'redis://redis.test:6379', state: 'up', lastError: undefined },
    },
    directories: [
      {
        directory: 'default',
        servers: servers.map((server, index) => ({
          server,
          state: index === 0 ? 'up' : 'down',
          since: now - (index === 0 ? 12 * day : 640_000),
          lastError: index === 0 ? undefined : 'no answer within 2000 ms',
          lastErrorAt: index === 0 ? undefined : now - 21_000,
          connections: index === 0 ? 2 : 0,
          inFlight: 0,
          searches: 402_000,
          failures: 0,
          time: 1_206_000,
          latency: 3,
          failuresBy: {},
          durations: [],
        })),
        cache: { found: 11_420, absent: 38_204, hits: 0, misses: 0, stale: 0 },
        snapshot,
      },
    ],
  })
  return reportOf([one(1), one(2)])
}

const NOBODY: RefusedMost = { recipients: [], clients: [], senderDomains: [] }
const REFUSED_MOST: RefusedMost = {
  recipients: Array.from({ length: 50 }, (_, n) => {
    return { name: n === 3 ? 'x'.repeat(80) : `user${n}@example.com`, count: 9_000 - n * 110 }
  }),
  clients: Array.from({ length: 50 }, (_, n) => {
    return { name: n === 1 ? '2001:db8:4401:9::1c' : `198.51.100.${n}`, count: 90_000 - n * 1_100 }
  }),
  senderDomains: [
    { name: 'shop.example', count: 120_400 },
    { name: '<>', count: 31_004 },
    { name: 'mail.isp.example', count: 811 },
  ],
}

const RULES = [
  ['not-in-gal', '550 5.1.1 Recipient unknown', 'mary.mayor', 'example.com'],
  ['no-relay-nobody', '550 5.7.1 Relaying is prohibited', 'winner', 'elsewhere.example'],
  ['not-in-gal', '550 5.1.1 Recipient unknown', 'info-2019', 'example.com'],
  ['routes-onward', '550 5.7.1 Relaying is prohibited', 'x%victim.example', 'example.com'],
  [
    'authenticated-only',
    '550 5.7.1 This recipient takes mail from authenticated senders only',
    'all-staff',
    'example.com',
  ],
] as const

/** Text without spaces, right-to-left text, bidirectional controls, invisible and combining characters. */
const HOSTILE = `${'x'.repeat(64)}שלום\u202egnp.exe\u009b31m${'用户'.repeat(20)}z${'\u0301'.repeat(40)}<b>`

function refusals(now: number): RecentRefusal[] {
  return Array.from({ length: 200 }, (_, index) => {
    const [rule, reply, local, domain] =
      RULES[(index * 7 + (index >> 3)) % RULES.length] ?? RULES[0]
    return {
      at: now - (200 - index) * 3_700,
      client: index % 9 ? `198.51.100.${(index * 37) % 255}` : '2001:db8:4401:9::1c',
      host: index % 4 ? `mail${index}.isp.example` : '',
      helo:
        index % 20 === 13
          ? HOSTILE
          : index % 3
            ? `mail${index}.isp.example`
            : 'localhost.localdomain',
      account: '',
      sender: index % 6 ? `newsletter-${index}@shop.example` : '',
      recipient: index % 20 === 13 ? `"${HOSTILE}"@${domain}` : `${local}@${domain}`,
      listener: '10.0.0.5:25',
      rule,
      reply,
    }
  })
}
