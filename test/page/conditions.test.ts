// What does harm to mail is red, what is not as it should be amber.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { conditionsOf, conditionsPart } from '../../plugins/gal-relay/page/conditions'
import type { InstallReport } from '../../plugins/gal-relay/report/install'
import { readIni } from '../../plugins/gal-relay/settings/ini'
import { readSettings } from '../../plugins/gal-relay/settings/settings'
import { busyInstall } from '../support/install-report'

const NOW = 1_700_000_000_000
const FINDINGS = { bad: [], doubtful: [] }
type State = 'up' | 'down' | 'idle' | 'starting'

/** Directories whose two servers are in these states, and how old their list is, in every process. */
function reportOf(
  directories: Readonly<
    Record<string, { readonly states: readonly State[]; readonly age?: number }>
  >,
): InstallReport {
  const { processes, ...rest } = busyInstall(NOW)
  return {
    ...rest,
    processes: processes.map((process) => ({
      ...process,
      harvest: undefined,
      directories: process.directories.flatMap((report) =>
        Object.entries(directories).map(([directory, { states, age }]) => ({
          ...report,
          directory,
          servers: report.servers.map((server, i) => ({ ...server, state: states[i] ?? 'up' })),
          snapshot:
            age === undefined
              ? undefined
              : {
                  ...{ addresses: 10, isCurrent: false, asOf: NOW - age, feed: 'none' as const },
                  ...{ sync: undefined, answered: 0, asked: 0 },
                },
        })),
      ),
    })),
  }
}

const settingsOf = (ini: string) => readSettings(readIni('gal_relay.ini', ini), [], '/nowhere')
const LIVE = '[ldap]\nurl[] = ldap://x.test\nbase = dc=x\n'
const section = (name: string, domain: string) =>
  `[directory ${name}]\ndomains[] = ${domain}\nurl[] = ldap://${name}.test\nbase = dc=x\n`

function colours(ini: string, report: InstallReport) {
  const { bad, doubtful } = conditionsOf({
    ...{ settings: settingsOf(ini), report, findings: FINDINGS, now: NOW },
  })
  return { bad: bad.map(({ text }) => text), doubtful: doubtful.map(({ text }) => text) }
}

describe('the conditions on the status page', () => {
  test('one of two servers down is amber; both are red', () => {
    const one = colours(LIVE, reportOf({ default: { states: ['down', 'up'] } }))
    assert.deepEqual(one.bad, [])
    assert.match(one.doubtful.join(), /^Directory server ldaps:\/\/dc1\.corp\.example is down/)
    const both = colours(LIVE, reportOf({ default: { states: ['down', 'down'] } }))
    assert.match(both.bad.join(), /^No directory server can be asked: recipients .* get a 451/)
    assert.equal(both.doubtful.length, 2)
  })

  test('nothing is said of servers that are not asked, or not yet', () => {
    const { bad, doubtful } = colours(LIVE, reportOf({ default: { states: ['starting', 'idle'] } }))
    assert.deepEqual([...bad, ...doubtful], [])
  })

  test('a directory of which no server is known is red, but for the first minute', () => {
    const report = (age: number) => {
      const { processes, ...rest } = reportOf({ default: { states: [] } })
      return {
        ...rest,
        processes: processes.map((process) => ({
          ...{ ...process, startedAt: NOW - age },
          directories: process.directories.map((one) => ({ ...one, servers: [] })),
        })),
      }
    }
    assert.match(colours(LIVE, report(120_000)).bad.join(), /^No directory server can be asked/)
    assert.deepEqual(colours(LIVE, report(10_000)).bad, [])
  })

  test('a list that may be used, or another directory of the same domains, makes it amber', () => {
    const snapshot = `[gal]\nmode = snapshot\n[snapshot]\nusable_for = 1h\n${LIVE}`
    const down = { states: ['down', 'down'] } as const
    const young = colours(snapshot, reportOf({ default: { ...down, age: 1_800_000 } }))
    assert.deepEqual(young.bad, [])
    assert.match(young.doubtful[0] ?? '', /its list in memory answers for it/)
    const unconfirmed = reportOf({ default: { states: ['up', 'up'], age: 120_000 } })
    assert.match(
      colours(snapshot, unconfirmed).doubtful.join(),
      /directory has not confirmed it since/,
    )
    const confirmed = reportOf({ default: { states: ['up', 'up'], age: 20_000 } })
    assert.deepEqual(colours(snapshot, confirmed), { bad: [], doubtful: [] })
    const old = colours(snapshot, reportOf({ default: { ...down, age: 3_700_000 } }))
    assert.match(old.bad[0] ?? '', /get a 451/)

    const two = `${section('a', 'a.test')}${section('b', 'a.test')}[routes]\na.test = inbound\n`
    const up = { states: ['up', 'up'] } as const
    const spared = colours(two, reportOf({ a: down, b: up }))
    assert.deepEqual(spared.bad, [])
    assert.match(
      spared.doubtful[0] ?? '',
      /^No server of directory a .* another directory has the same/,
    )
    const missed = colours(two, reportOf({ a: down, b: down }))
    assert.match(missed.bad.join('\n'), /directory a .*451.* Recipients at a\.test\./)
  })

  test('a failure of the plugin itself is red for an hour, and amber for a day', () => {
    const report = reportOf({ default: { states: ['up', 'up'] } })
    const errors = { name: 'errors', labels: {}, value: 2 } as const
    const at = (hours: number) =>
      colours(LIVE, {
        ...{ ...report, counters: [...report.counters, errors] },
        failedAt: NOW - hours * 3_600_000,
      })
    assert.match(
      at(0.5).bad.join(),
      /^2 failures of the plugin itself since the start, the last 30 min/,
    )
    assert.match(at(2).doubtful.join(), /^2 failures of the plugin itself/)
    assert.deepEqual(at(30), { bad: [], doubtful: [] })
  })

  test('of many, the first are shown', () => {
    const texts = Array.from({ length: 500 }, (_, n) => `row ${n} changes nothing`)
    const conditions = conditionsOf({
      ...{ settings: settingsOf(LIVE), now: NOW },
      report: reportOf({ default: { states: ['up', 'up'] } }),
      findings: { bad: [], doubtful: texts },
    })
    assert.equal(conditions.doubtful.length, 500)
    const { text } = conditionsPart(conditions)
    assert.equal([...text.matchAll(/changes nothing/g)].length, 20)
    assert.match(text, /480 more: <code>gal-relay check<\/code> has them all/)
  })
})
