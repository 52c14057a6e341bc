// The same questions to a live list and to a list in memory, of a directory of which the truth is known:
// what one finds the other must not call absent.
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { probeDirectory } from '../../plugins/gal-relay/gal/directory/probe'
import type { FeedName } from '../../plugins/gal-relay/gal/feeds/table'
import type { GalSettings, LdapSettings } from '../../plugins/gal-relay/settings/settings'
import { until } from '../support/until'
import { GAL, LDAP, serverUrl, type TestList, testList } from './lists'

/** What is answered, by address. */
export type Answers = Readonly<Record<string, string>>

export interface Questions {
  readonly base?: string
  readonly attributes?: string[]
  readonly ldap?: Partial<LdapSettings>
  readonly gal?: Partial<GalSettings>
  readonly live: Answers
  /** From memory, where that is something else. */
  readonly snapshot?: Answers
  /** The way by which the list in memory is to be followed. */
  readonly feed?: FeedName
  /** Of the live list's log, once. */
  readonly log?: RegExp
  /** Of the problems and warnings of `check`, once; none: it finds neither, but for the feed. */
  readonly check?: RegExp
  /** No list in memory is put in force. */
  readonly isUnlisted?: boolean
  /** Then this happens, and both are asked again. */
  readonly after?: {
    change(): Promise<void>
    readonly live: Answers
    readonly snapshot?: Answers
  }
}

async function answered(list: TestList, expected: Answers, way: string): Promise<void> {
  for (const [address, answer] of Object.entries(expected)) {
    const given = await list.answer(address)
    const said = JSON.stringify(given)
    assert.deepEqual([way, address, given.state], [way, address, answer], said)
  }
}

/** The list is in force, and either confirmed or known to leave something out. */
function isInForce({ report, log }: TestList): boolean {
  const { addresses = 0, isCurrent = false } = report().snapshot ?? {}
  const isKnownPartial = log.lines.some((line) => line.includes('are looked up live'))
  return addresses > 0 && (isCurrent || isKnownPartial)
}

/** @param server one that lets everybody read, or whose account is in `questions.ldap` */
export async function bothWays(server: { readonly url: string }, questions: Questions) {
  const ldap = {
    url: [serverUrl(server.url)],
    base: [questions.base ?? 'dc=corp,dc=test'],
    ...questions.ldap,
  }
  const gal = {
    ...(questions.attributes ? { attributes: questions.attributes } : {}),
    ...questions.gal,
  }
  const folder = mkdtempSync(join(tmpdir(), 'both-ways-'))
  const live = testList(ldap, gal)
  // Changes are soon seen by those ways that look for them.
  const snapshot = { file: join(folder, 'list'), changes_every: questions.after ? 1000 : 20_000 }
  const kept = testList(ldap, { ...gal, mode: 'snapshot' }, snapshot)
  try {
    await answered(live, questions.live, 'live')
    if (questions.log) requireOne(live.log.lines, questions.log)
    kept.start()
    const logOfKept = () => `a list is read\n${kept.log.lines.join('\n')}`
    await until(() => questions.isUnlisted || isInForce(kept), logOfKept)
    await answered(kept, { ...questions.live, ...questions.snapshot }, 'snapshot')
    if (questions.feed) assert.equal(kept.report().snapshot?.feed, questions.feed, logOfKept())
    await checked(ldap, { ...GAL, ...gal, mode: 'snapshot' }, questions.check)
    if (questions.after) {
      await questions.after.change()
      const expected = { ...questions.after.live, ...questions.after.snapshot }
      for (const [address, answer] of Object.entries(expected)) {
        if (answer === 'unavailable') await until(async () => (await kept.ask(address)) === answer)
        else await kept.becomes(address, answer, 30_000)
      }
      await answered(live, questions.after.live, 'live, changed')
    }
  } finally {
    await Promise.all([live.close(), kept.close()])
    rmSync(folder, { recursive: true, force: true })
  }
}

async function checked(ldap: Partial<LdapSettings>, gal: GalSettings, expected?: RegExp) {
  const servers = await probeDirectory(gal, { ...LDAP, ...ldap })
  const lines = servers.flatMap(({ findings }) =>
    findings
      .filter(({ level }) => level === 'problem' || level === 'warning')
      .map(({ level, text }) => `${level} ${text}`),
  )
  if (expected) requireOne(lines, expected)
  else
    assert.deepEqual(
      lines.filter((line) => !line.includes('it does not report changes')),
      [],
    )
}

function requireOne(lines: readonly string[], expected: RegExp): void {
  const said = lines.filter((line) => expected.test(line))
  assert.equal(said.length, 1, `${expected} in\n${lines.join('\n')}`)
}
