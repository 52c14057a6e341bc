// Sends each case of the rulebook to a real Haraka that looks recipients up in a real directory.
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import type { Haraka, HarakaOptions } from './haraka'
import { harakaVersion, isAtLeast } from './releases'
import { sharedHaraka } from './shared-haraka'
import type { SlapdEntry } from './slapd'
import { connectSmtp } from './smtp'
import { type Case, entriesOf, PASSWORDS, type Scenario, scenarios, unitOf } from './vectors'

interface LdapServer {
  readonly url: string
  readonly base: string
  stop(): Promise<void>
}

/** Cases whose answer depends on the directory, or on which process answers. */
export const SOME = [
  'encapsulated and source-routed recipients are never unpacked',
  'each listener has its own rules',
  'a list that takes mail from authenticated senders only',
  'both kinds of recipient in one transaction, split (default)',
]

export interface VectorOptions extends HarakaOptions {
  readonly skip?: string | false
  /** The names of the scenarios; default all */
  readonly only?: readonly string[]
  /** More assertions about a scenario, with the Haraka that answers its cases. */
  readonly also?: (haraka: Haraka, scenario: Scenario) => Promise<void>
}

export function describeVectors(
  name: string,
  startLdap: (entries: readonly SlapdEntry[]) => Promise<LdapServer>,
  { skip = false, only, also, ...options }: VectorOptions = {},
): void {
  describe(`ims-routing.json with ${name}`, { skip }, () => {
    let ldap: LdapServer
    let parsesBlanks: boolean
    before(async () => {
      ldap = await startLdap(scenarios.flatMap(entriesOf))
      parsesBlanks = isAtLeast(options.release ?? (await harakaVersion()), '3.3')
    })
    const shared = sharedHaraka({ ...options, auth: PASSWORDS })
    after(async () => {
      await shared.stop()
      await ldap.stop()
    })

    if (only) assert.ok(only.every((name) => scenarios.some((scenario) => scenario.name === name)))
    scenarios.forEach((scenario, index) => {
      if (only && !only.includes(scenario.name)) return
      test(`${scenario.name} (${scenario.source})`, async (context) => {
        const directory = `[ldap]\nurl[] = ${ldap.url}\nbase = ${unitOf(index)}\n`
        await shared.with(`${scenario.ini}\n${directory}`, scenario.host_list, async (haraka) => {
          let hasEnded = false
          void haraka.exited.then(() => {
            hasEnded = true
          })
          for (const round of ['first', 'second']) {
            const wrong = []
            for (const one of scenario.cases) {
              const { lines, isRefused } = await differences(haraka.port, one, parsesBlanks)
              wrong.push(...lines)
              // Work after an answer may end the process, too.
              if (isRefused) await haraka.waitForLog(/\[gal-relay\] (refused|deferred) /)
            }
            assert.deepEqual(wrong, [], `${round} round`)
          }
          await also?.(haraka, scenario)
          assert.ok(!hasEnded)
          context.diagnostic(`${scenario.cases.length} cases`)
        })
      })
    })
  })
}

/** @returns a line for each reply that is not the expected one */
export async function askCase(port: number, one: Case): Promise<readonly string[]> {
  return (await differences(port, one, true)).lines
}

interface Differences {
  /** A line for each reply that is not the expected one. */
  readonly lines: readonly string[]
  /** The plugin refused or deferred the last recipient. */
  readonly isRefused: boolean
}

/** @param parsesBlanks false before 3.3: that Haraka's own parser refuses a quoted local part with a space */
async function differences(port: number, one: Case, parsesBlanks: boolean): Promise<Differences> {
  const { client, local, auth, from = 'something@sender.example' } = one
  const to = [one.to].flat()
  const expected = [one.reply].flat()
  const smtp = await connectSmtp({ port, proxy: { client, local } })
  try {
    await smtp.ehlo()
    if (auth === 'carol' || auth === 'guest') {
      assert.equal((await smtp.auth(auth, PASSWORDS[auth])).code, 235, `AUTH as ${auth}`)
    }
    const { mail, rcpt } = await smtp.transaction(from, to)
    assert.equal(mail.code, 250, mail.line)
    const lines = to.flatMap((recipient, index) => {
      const { line = 'no reply' } = rcpt[index] ?? {}
      const isUnparsed = !parsesBlanks && /^".* .*"@/.test(recipient) && line.startsWith('501 ')
      return line.startsWith(expected[index] ?? 'a reply') || isUnparsed
        ? []
        : [`${client} → ${local} ${auth ?? ''} <${recipient}>: ${line}, not ${expected[index]}`]
    })
    const last = rcpt.at(-1)?.line ?? ''
    return { lines, isRefused: /^550 5\.(1\.1|7\.1) /.test(last) }
  } finally {
    await smtp.quit()
  }
}
