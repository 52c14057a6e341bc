// What the status page shows, as data.
import { whoMayRelay } from '../advice/who-may-relay'
import { REFUSALS } from '../report/counts'
import { parseIp } from '../routing/networks'
import { serversOf } from './directory-section'
import type { Health } from './health'
import { conditionsOf, type Overview } from './overview-page'
import { matches } from './refusals-section'

/**
 * @returns a JSON text; numbers that JSON cannot hold are texts, what is unknown is null, times are
 *   milliseconds since 1970
 */
export function statusJson(overview: Overview, health: Health): string {
  const { name, settings, report, filter, now } = overview
  const { processes, counters, minutes, refusals } = report
  const { bad, doubtful } = conditionsOf(overview)
  const counted = (what: string) =>
    counters
      .filter((sample) => sample.name === what)
      .map(({ labels, value }) => ({ ...labels, count: value }))
  return json({
    name,
    now,
    healthy: health.isWell,
    conditions: { bad, doubtful },
    processes: processes.map(({ pid, startedAt, reloadFailedAt }) => {
      return { pid, started_at: startedAt, reload_failed_at: reloadFailedAt }
    }),
    answers: counted('answers'),
    differences: counted('differences'),
    minutes: minutes.map(({ minute, ...counts }) => ({ at: minute * 60_000, ...counts })),
    directories: settings.directories.all.map((directory) => ({
      directory: directory.name,
      mode: directory.gal.mode,
      servers: serversOf(processes)
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
    })),
    listeners: [...settings.policies.values()].map((policy) => {
      const address = policy.name.slice(0, policy.name.lastIndexOf(':'))
      return whoMayRelay(policy, address === '*' ? undefined : parseIp(address))
    }),
    refusals: refusals.slice(-REFUSALS).filter((refusal) => matches(refusal, filter)),
  })
}

function json(value: object): string {
  return JSON.stringify(value, (_key, one: unknown) => {
    if (one === undefined) return null
    return typeof one === 'bigint' ? one.toString() : one
  })
}
