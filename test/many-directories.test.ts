// Five hundred directories on one server: nothing is held for those that nobody asks, and one process
// keeps all lists.
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { companiesIni, companyUser, startCompanies } from './support/companies'
import { type Haraka, startHaraka } from './support/haraka'
import { childrenOf } from './support/processes'
import { skipWithout } from './support/programs'
import type { Slapd } from './support/slapd'
import { connectSmtp } from './support/smtp'
import { startTcpProxy, type TcpProxy } from './support/tcp-proxy'
import { until } from './support/until'

const COMPANIES = 500
/** Some of them. */
const ASKED = Array.from({ length: 20 }, (_, n) => n * 25)

describe('five hundred directories', {
  skip: skipWithout('slapd', 'slapadd', 'ldapmodify'),
}, () => {
  let slapd: Slapd
  let proxy: TcpProxy
  let haraka: Haraka | undefined

  before(async () => {
    slapd = await startCompanies({ companies: COMPANIES, recipients: 2 })
    proxy = await startTcpProxy(slapd.port)
  })
  after(async () => {
    await proxy?.stop()
    await slapd?.stop()
  })

  const ini = (...gal: string[]) =>
    companiesIni({
      slapd: { ...slapd, url: `ldap://127.0.0.1:${proxy.port}` },
      companies: COMPANIES,
      directories: COMPANIES,
      gal,
    })
  const start = async (...gal: string[]) => {
    haraka = await startHaraka({ ini: ini(...gal), proxy: false })
    return haraka
  }

  async function ask(...recipients: string[]): Promise<string[]> {
    const smtp = await connectSmtp({ port: haraka?.port ?? 0 })
    await smtp.ehlo()
    await smtp.mail('a@b.example')
    const replies: string[] = []
    for (const to of recipients) replies.push((await smtp.rcpt(to)).line.slice(0, 9))
    await smtp.quit()
    return replies
  }

  async function assertAnswers(): Promise<void> {
    const recipients = ASKED.flatMap((n) => [companyUser(n, 1), companyUser(n, 7)])
    const expected = ASKED.flatMap(() => ['250 recip', '550 5.1.1'])
    assert.deepEqual(await ask(...recipients), expected)
  }

  test('those that are asked have one connection each, the others none; so after a reload', async () => {
    const { reload, stop } = await start()
    try {
      await sleep(500)
      assert.equal(proxy.connections, 0)
      await assertAnswers()
      assert.equal(proxy.connections, ASKED.length)
      // One of them is another one now, and is asked anew.
      const another = ini().replace('[directory d0]\n', '[directory d0]\nquery_timeout = 1900ms\n')
      await reload(another)
      await until(() => proxy.connections === ASKED.length - 1)
      await assertAnswers()
      assert.equal(proxy.connections, ASKED.length)
    } finally {
      await stop()
    }
  })

  test('one process keeps their lists, and reads one anew whose settings have changed', async () => {
    const { pid, log, logLines, writeConfig, stop } = await start('mode = snapshot')
    try {
      const inForce = () => logLines(/d\d+: the list is in force: 2 recipients/).length
      await until(
        () => inForce() === COMPANIES,
        () => `${inForce()} lists are in force`,
        240_000,
      )
      const keepers = childrenOf(pid)
      assert.equal(keepers.length, 1)
      await until(() => logLines(/snapshot: 2 recipients/).length === COMPANIES)
      const isFound = (n: number) => async () => (await ask(companyUser(n, 9)))[0] === '250 recip'
      const add = (n: number) => {
        const mail = companyUser(n, 9)
        const dn = `uid=new,ou=company${n},${slapd.base}`
        return slapd.add({ dn, mail, proxyAddresses: `SMTP:${mail}` })
      }
      await add(7)
      await until(isFound(7))
      const another = ini('mode = snapshot').replace(
        '[directory d7]\n',
        '[directory d7]\nchanges_every = 29s\n',
      )
      writeConfig('gal_relay.ini', another)
      await until(() => logLines(/d7: the list is in force/).length === 2)
      assert.equal(logLines(/the list is in force/).length, COMPANIES + 1)
      await add(8)
      await until(isFound(8))
      await assertAnswers()
      assert.deepEqual(childrenOf(pid), keepers)
      assert.doesNotMatch(log(), /\[(ERROR|CRIT)\] \[-\] \[gal-relay\]/)
    } finally {
      await stop()
    }
  })
})
