// Any worker may be asked for the metrics and speaks for all of them.
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { startEmbeddedLdap } from '../support/embedded-ldap'
import { type Haraka, startHaraka } from '../support/haraka'
import { freePorts } from '../support/ports'
import { connectSmtp } from '../support/smtp'
import { until } from '../support/until'

const BASE = 'dc=corp,dc=test'
const ROUNDS = 12
/** No recipient is deferred because the machine is busy. */
const UNHURRIED = 'connect_timeout = 25s\nquery_timeout = 25s\nanswer_within = 25s\n'

describe('metrics of several workers', () => {
  let ldap: Awaited<ReturnType<typeof startEmbeddedLdap>>
  let haraka: Haraka
  let port: number
  let sent = 0

  before(async () => {
    const people = { dn: `uid=alice,${BASE}`, mail: 'alice@example.com' }
    ldap = await startEmbeddedLdap([people])
    ;[port = 0] = await freePorts(1)
    haraka = await startHaraka({
      nodes: 3,
      ini: `[routes]
example.com = inbound
[http]
enabled = true
[ldap]
url[] = ${ldap.url}
base = ${BASE}
${UNHURRIED}`,
      files: { 'config/http.ini': `listen=127.0.0.1:${port}\n` },
    })
  })
  after(async () => {
    await haraka.stop()
    await ldap.stop()
  })

  /** Each on a connection of its own, so that all workers get some. */
  async function send(count: number): Promise<void> {
    for (let i = 0; i < count; i++) {
      const smtp = await connectSmtp({
        port: haraka.port,
        proxy: { client: '192.0.2.1', local: '10.0.0.5:25' },
      })
      await smtp.ehlo()
      await smtp.transaction('a@sender.example', ['alice@example.com', 'nobody@example.com'])
      await smtp.quit()
    }
    sent += count
  }

  /** A worker that is slow to answer counts with its last report: on a busy machine only in the end. */
  const becomes = (count: number) =>
    until(async () => {
      const scrape = await metrics(port)
      return (
        scrape.get(ACCEPTED) === count &&
        scrape.get(REFUSED) === count &&
        scrape.get('gal_relay_processes') === 3
      )
    })

  test('every scrape has the sum of all', async () => {
    await send(ROUNDS)
    const isSum = (scrape: Map<string, number>) =>
      scrape.get(ACCEPTED) === sent &&
      scrape.get(REFUSED) === sent &&
      scrape.get('gal_relay_processes') === 3 &&
      scrape.get(`gal_relay_directory_up{directory="default",server="${ldap.url}"}`) === 1
    await until(async () => {
      const scrapes = await Promise.all(Array.from({ length: ROUNDS }, () => metrics(port)))
      return scrapes.every(isSum)
    })
  })

  test('a worker that is killed stays counted, and so does the one that takes its place', async () => {
    const [victim] = haraka.workers
    assert.ok(victim)
    const from = haraka.log().length
    process.kill(victim, 'SIGKILL')
    await haraka.waitForLog(/^test-harness: ready/, undefined, from)
    for (let i = 0; i < ROUNDS; i++) {
      const scrape = await metrics(port)
      assert.equal(scrape.get(ACCEPTED), sent)
      assert.equal(scrape.get(REFUSED), sent)
    }
    await send(ROUNDS)
    await becomes(sent)
  })

  test('a worker that does not answer counts with its last report, and nobody waits long', async () => {
    const [, victim] = haraka.workers
    assert.ok(victim)
    process.kill(victim, 'SIGSTOP')
    try {
      // The stopped one may be the one that is asked: its connections wait with it.
      const scrape = await firstOf(Array.from({ length: 6 }, () => metrics(port)))
      assert.equal(scrape.get(ACCEPTED), sent)
    } finally {
      process.kill(victim, 'SIGCONT')
    }
  })

  test('workers that are replaced in good order stay counted, to the last answer', async () => {
    await send(ROUNDS)
    const smtp = await connectSmtp({
      port: haraka.port,
      proxy: { client: '127.0.0.1', local: '127.0.0.1:25' },
    })
    await smtp.ehlo()
    assert.equal((await smtp.command('INTERNALCMD gracefulRestart')).code, 250)
    await smtp.quit()
    await haraka.waitForLog(/Reload complete/, 90_000)
    await becomes(sent)
    await send(ROUNDS)
    await becomes(sent)
  })

  test('the page shows the refusals of all workers', async () => {
    const page = await (await fetch(`http://127.0.0.1:${port}/gal-relay/`)).text()
    assert.equal([...page.matchAll(/<tr data-client=/g)].length, sent)
  })
})

const LABELS = 'listener="*:*",mode="enforce"'
const ACCEPTED = `gal_relay_answers_total{${LABELS},verdict="accepted",code="250",rule="in-gal"}`
const REFUSED = `gal_relay_answers_total{${LABELS},verdict="refused",code="550",rule="not-in-gal"}`

const firstOf = <T>(all: Promise<T>[]) => Promise.any(all)

/** On a connection of its own. */
async function metrics(port: number): Promise<Map<string, number>> {
  const response = await fetch(`http://127.0.0.1:${port}/gal-relay/metrics`, {
    headers: { connection: 'close' },
    signal: AbortSignal.timeout(30_000),
  })
  assert.equal(response.status, 200)
  const text = await response.text()
  const samples = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'))
  return new Map(
    samples.map((line) => {
      const space = line.lastIndexOf(' ')
      return [line.slice(0, space), Number(line.slice(space + 1))]
    }),
  )
}
