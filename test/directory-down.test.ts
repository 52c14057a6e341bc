// The directory goes away and comes back while Haraka runs: nobody is refused or accepted on a guess,
// answers do not take long, and nothing has to be done to Haraka.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { after, before, describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Haraka, startHaraka } from './support/haraka'
import { skipWithout } from './support/programs'
import { type Slapd, startSlapd } from './support/slapd'
import { connectSmtp, type SmtpClient } from './support/smtp'
import { startStopwatch } from './support/stopwatch'

const ANSWER_WITHIN = 5000
// retry_after, and what a busy machine needs besides.
const BACK_WITHIN = 60_000

describe('a directory that goes away', { skip: skipWithout('slapd', 'slapadd') }, () => {
  let slapd: Slapd
  let haraka: Haraka
  let smtp: SmtpClient
  let asked = 0
  /** Somebody in the address list whom nobody has asked for yet. */
  const somebody = () => `known${++asked}@example.com`
  const nobody = () => `nobody${++asked}@example.com`

  before(async () => {
    slapd = await startSlapd({
      entries: Array.from({ length: 2000 }, (_, i) => `known${i + 1}@example.com`),
    })
    haraka = await startHaraka({
      logLevel: 'notice',
      ini: `[routes]
example.com = inbound
shared.example = shared smtp://other.test
[ldap]
url[] = ${slapd.url}
base = ${slapd.base}
`,
    })
    smtp = await connect()
    await smtp.mail('a@b.example')
  })
  after(async () => {
    await smtp?.quit()
    await haraka?.stop()
    await slapd?.stop()
  })

  async function connect(): Promise<SmtpClient> {
    const proxy = { client: '203.0.113.9', local: '10.0.0.5:25' }
    const client = await connectSmtp({ port: haraka.port, proxy })
    await client.ehlo()
    return client
  }

  async function ask(to: string): Promise<{ reply: string; took: number }> {
    const stopwatch = startStopwatch()
    try {
      const { line } = await smtp.rcpt(to)
      return { reply: line.slice(0, 9), took: stopwatch.now }
    } finally {
      stopwatch.stop()
    }
  }

  async function assertAnswers(): Promise<void> {
    assert.equal((await ask(somebody())).reply, '250 recip')
    assert.equal((await ask(nobody())).reply, '550 5.1.1')
    assert.equal((await ask('friend@elsewhere.example')).reply, '550 5.7.1')
  }

  async function assertDeferred(): Promise<void> {
    for (const to of [
      somebody(),
      nobody(),
      somebody(),
      'x%elsewhere.example@example.com',
      'x@shared.example',
    ]) {
      const { reply, took } = await ask(to)
      assert.equal(reply, '451 4.4.3', to)
      assert.ok(took < ANSWER_WITHIN + 1000, `${to} took ${took} ms`)
    }
    for (let round = 0; round < 3; round++) {
      assert.equal((await ask('friend@elsewhere.example')).reply, '550 5.7.1')
      assert.equal((await ask('postmaster@example.com')).reply, '250 recip')
    }
  }

  async function assertBack(): Promise<void> {
    const end = Date.now() + BACK_WITHIN
    while ((await ask(somebody())).reply !== '250 recip') {
      assert.ok(Date.now() < end, haraka.log())
      await sleep(200)
    }
    await assertAnswers()
  }

  test('is asked while it is there', assertAnswers)

  test('killed: inbound recipients are deferred, foreign ones refused as ever', async () => {
    const known = somebody()
    assert.equal((await ask(known)).reply, '250 recip')
    await slapd.kill()
    await assertDeferred()
    // What it said before may still be used.
    assert.equal((await ask(known)).reply, '250 recip')
  })

  test('back again: so are its answers', async () => {
    await slapd.restart()
    await assertBack()
  })

  test('deaf and dumb: the same', async () => {
    slapd.pause()
    try {
      await untilStopped(slapd.pid)
      const impatient = await Promise.all(Array.from({ length: 10 }, () => connect()))
      for (const client of impatient) {
        await client.mail('a@b.example')
        client.write(`RCPT TO:<${somebody()}>\r\n`)
      }
      await sleep(100)
      for (const client of impatient) client.close()
      await assertDeferred()
    } finally {
      slapd.resume()
    }
    await assertBack()
  })

  test('was told of in the log, and nothing failed', () => {
    assert.match(haraka.log(), /\[WARN\] .*directory .* is down/)
    assert.match(haraka.log(), /directory .* is up/)
    assert.deepEqual(haraka.logLines(/plugin timeout|exception|gal-relay\] failed/), [])
  })
})

/** A stop signal takes effect some time after it was sent. */
async function untilStopped(pid: number): Promise<void> {
  const state = () => /\) (\S)/.exec(readFileSync(`/proc/${pid}/stat`, 'utf8'))?.[1]
  while (state() !== 'T') await sleep(10)
}

describe('a directory that is not there at the start', {
  skip: skipWithout('slapd', 'slapadd'),
}, () => {
  test('comes later, without Haraka being touched', async () => {
    const slapd = await startSlapd({ entries: ['alice@example.com'] })
    await slapd.kill()
    const haraka = await startHaraka({
      nodes: 2,
      ini: `[routes]\nexample.com = inbound\n[ldap]\nurl[] = ${slapd.url}\nbase = ${slapd.base}\n`,
    })
    try {
      const connections = []
      for (let i = 0; i < 4; i++) {
        const proxy = { client: '203.0.113.9', local: '10.0.0.5:25' }
        const smtp = await connectSmtp({ port: haraka.port, proxy })
        await smtp.ehlo()
        await smtp.mail('a@b.example')
        connections.push(smtp)
      }
      for (const smtp of connections) assert.equal((await smtp.rcpt('alice@example.com')).code, 451)
      await slapd.restart()
      const end = Date.now() + BACK_WITHIN
      for (const smtp of connections) {
        while ((await smtp.rcpt('alice@example.com')).code !== 250) {
          assert.ok(Date.now() < end, haraka.log())
          await sleep(200)
        }
        await smtp.quit()
      }
    } finally {
      await haraka.stop()
      await slapd.stop()
    }
  })
})
