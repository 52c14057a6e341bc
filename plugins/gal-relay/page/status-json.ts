// What the status page shows, as data.
import { whoMayRelay } from '../advice/who-may-relay'
import { REFUSALS } from '../report/counts'
import { parseIp } from '../routing/networks'
import { observedCounts } from './answers-section'
import { conditionsOf, conditionTexts } from './conditions'
import { serversOf } from './directory-section'
import type { Health } from './health'
import { MOST, relayedByRule } from './most-section'
import type { Overview } from './overview-page'
import { filterOf, matches } from './refusals-section'
import { stateOf } from './relay-section'
import { glanceAt, settingsSince } from './settings-section'

/**
 * @returns a JSON text; numbers that JSON cannot hold are strings, unknown values are null, and times are
 *   milliseconds since 1970
 */
export function statusJson(overview: Overview, health: Health): string {
  const { name, versions, settings, report, queue, asked, now } = overview
  const { processes, counters, minutes, refusals, recentDifferences } = report
  const { bad, doubtful } = conditionsOf(overview)
  const filter = filterOf(asked)
  const counted = (what: string) =>
    counters
      .filter((sample) => sample.name === what)
      .map(({ labels, value }) => ({ ...labels, count: value }))
  return json({
    name,
    versions,
    now,
    healthy: health.isWell,
    conditions: { bad: conditionTexts(bad), doubtful: conditionTexts(doubtful) },
    processes: processes.map((one) => ({
      pid: one.pid,
      started_at: one.startedAt,
      settings_since: one.settingsSince,
      reload_failed_at: one.reloadFailedAt,
      reload_problems: one.reloadProblems,
    })),
    answers: counted('answers'),
    observed: observedCounts(counters),
    differences: counted('differences'),
    minutes: minutes.map(({ minute, ...counts }) => ({ at: minute * 60_000, ...counts })),
    most: {
      refused: mostJson(report, 'enforce'),
      would_be_refused: mostJson(report, 'observe'),
      relayed_by_rule: relayedByRule(counters),
    },
    queue: typeof queue === 'string' ? { error: queue } : queueJson(queue),
    directories: directoriesJson(overview),
    listeners: [...settings.policies.values()].map((policy) => {
      const address = policy.name.slice(0, policy.name.lastIndexOf(':'))
      const relays = whoMayRelay(policy, address === '*' ? undefined : parseIp(address))
      return { state: stateOf(policy), ...relays }
    }),
    settings: settingsJson(overview),
    refusals: refusals.slice(-REFUSALS).filter((refusal) => matches(refusal, filter)),
    recent_differences: recentDifferences.filter((difference) => matches(difference, filter)),
  })
}

function mostJson({ refusedMost }: Overview['report'], mode: 'enforce' | 'observe') {
  const { recipients, clients, senderDomains } = refusedMost[mode]
  return {
    recipients: recipients.slice(0, MOST),
    clients: clients.slice(0, MOST),
    sender_domains: senderDomains.slice(0, MOST),
  }
}

function queueJson(queue: Exclude<Overview['queue'], string>) {
  const { messages, isCut, unreadable, byHop, byMx } = queue
  return { messages, cut: isCut, unreadable, by_next_hop: byHop, by_mx: byMx }
}

function directoriesJson({ settings, report: { processes } }: Overview) {
  const servers = serversOf(processes)
  return settings.directories.all.map((directory) => ({
    directory: directory.name,
    mode: directory.gal.mode,
    servers: servers
      .filter((server) => server.directory === directory.name)
      .map(({ server, state, since, connections, lastError, lastErrorAt }) => {
        const last = { last_error: lastError, last_error_at: lastErrorAt }
        return { server, state, since, connections, ...last }
      }),
    lists: processes.flatMap(({ pid, directories }) =>
      directories
        .filter((one) => one.directory === directory.name)
        .map(({ cache, snapshot }) => ({
          pid,
          cache,
          snapshot: snapshot && {
            addresses: snapshot.addresses,
            current: snapshot.isCurrent,
            as_of: snapshot.asOf,
            feed: snapshot.feed,
            answered: snapshot.answered,
            asked: snapshot.asked,
          },
        })),
    ),
  }))
}

function settingsJson({ settings, report, now }: Overview) {
  const { domains, rows, hosts } = glanceAt(settings)
  const first = <T>(all: readonly T[]) => all.slice(0, LISTED)
  return {
    since: settingsSince(report, now),
    counts: { inbound_domains: domains.length, routes: rows.length, hosts: hosts.length },
    inbound_domains: first(domains),
    routes: first(rows).map(({ name, value }) => ({ sent_to: name, route_to: value })),
    hosts: first(hosts).map(({ name, value }) => ({ value: name, next_hops: value })),
  }
}

/** The most items of each list; the command shows all. */
const LISTED = 1000

function json(value: object): string {
  return JSON.stringify(value, (_key, one: unknown) => {
    if (one === undefined) return null
    return typeof one === 'bigint' ? one.toString() : one
  })
}
