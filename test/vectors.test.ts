// The rulebook's cases, each asked of a real Haraka that looks recipients up in a real directory.
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { startEmbeddedLdap } from './support/embedded-ldap'
import { type HarakaOptions, startHaraka } from './support/haraka'
import { skipWithout } from './support/programs'
import { type SlapdEntry, startSlapd } from './support/slapd'
import { connectSmtp } from './support/smtp'
import { type Case, entriesOf, PASSWORDS, scenarios, unitOf } from './support/vectors'

interface LdapServer {
  readonly url: string
  readonly base: string
  stop(): Promise<void>
}

every('embedded LDAP directory', (entries) => startEmbeddedLdap(entries))
every('embedded LDAP directory, nodes = 2', (entries) => startEmbeddedLdap(entries), { nodes: 2 })
every('slapd', (entries) => startSlapd({ entries }), {}, skipWithout('slapd', 'slapadd'))

function every(
  name: string,
  startLdap: (entries: readonly SlapdEntry[]) => Promise<LdapServer>,
  options: HarakaOptions = {},
  skip: string | false = false,
): void {
  describe(`ims-routing.json with ${name}`, { concurrency: 2, skip }, () => {
    let ldap: LdapServer
    before(async () => {
      ldap = await startLdap(scenarios.flatMap(entriesOf))
    })
    after(() => ldap.stop())

    scenarios.forEach((scenario, index) => {
      test(`${scenario.name} (${scenario.source})`, async () => {
        const base = unitOf(index)
        const haraka = await startHaraka({
          ...options,
          ini: `${scenario.ini}\n[ldap]\nurl[] = ${ldap.url}\nbase = ${base}\n`,
          hostList: scenario.host_list ?? [],
          auth: PASSWORDS,
        })
        try {
          for (const round of ['first', 'second']) {
            const wrong = []
            for (const one of scenario.cases) wrong.push(...(await differences(haraka.port, one)))
            assert.deepEqual(wrong, [], `${round} round`)
          }
        } finally {
          await haraka.stop()
        }
      })
    })
  })
}

/** @returns a line for each reply that is not the expected one */
async function differences(port: number, one: Case): Promise<string[]> {
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
    return to.flatMap((recipient, index) => {
      const { line = 'no reply' } = rcpt[index] ?? {}
      return line.startsWith(expected[index] ?? 'a reply')
        ? []
        : [`${client} → ${local} ${auth ?? ''} <${recipient}>: ${line}, not ${expected[index]}`]
    })
  } finally {
    await smtp.quit()
  }
}
