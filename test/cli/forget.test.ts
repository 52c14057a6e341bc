// `gal-relay forget` reaches the caches of a running server, in all of its processes.
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { loadCommand } from '../support/command'
import { type Haraka, startHaraka } from '../support/haraka'
import { skipWithout } from '../support/programs'
import { type Slapd, startSlapd } from '../support/slapd'
import { connectSmtp } from '../support/smtp'

const { runCommand, runJson } = loadCommand()

describe('gal-relay forget', { skip: skipWithout('slapd', 'slapadd', 'ldapmodify') }, () => {
  let slapd: Slapd
  let haraka: Haraka
  before(async () => {
    slapd = await startSlapd({ entries: ['alice@example.com'] })
    haraka = await startHaraka({
      nodes: 2,
      ini: `[routes]\nexample.com = inbound\n[gal]\ncache_absent = 1d\n[ldap]\nurl[] = ${slapd.url}\nbase = ${slapd.base}\n`,
    })
  })
  after(() => Promise.all([haraka?.stop(), slapd?.stop()]))

  async function codeFor(address: string): Promise<number> {
    const proxy = { client: '203.0.113.9', local: '10.0.0.5:25' }
    const smtp = await connectSmtp({ port: haraka.port, proxy })
    try {
      await smtp.ehlo()
      await smtp.mail('a@sender.example')
      return (await smtp.rcpt(address)).code
    } finally {
      await smtp.quit()
    }
  }
  /** Which worker answers, chance says. */
  const codesFor = async (address: string) =>
    new Set(await Promise.all(Array.from({ length: 20 }, () => codeFor(address))))
  const forget = (address: string) =>
    runJson<{ directories: string[]; processes: number }>(['forget', address, '-c', haraka.dir])

  test('the next message asks the directory', async () => {
    assert.deepEqual([...(await codesFor('bob@example.com'))], [550])
    await slapd.add('bob@example.com')
    assert.deepEqual([...(await codesFor('bob@example.com'))], [550])
    const { code, json } = await forget('BOB@example.com')
    assert.equal(code, 0)
    assert.deepEqual(json.directories, ['default'])
    assert.ok(json.processes > 0)
    assert.deepEqual([...(await codesFor('bob@example.com'))], [250])
  })

  test('says when no cache had it', async () => {
    const { code, json } = await forget('never@example.com')
    assert.deepEqual([code, json.processes], [1, 0])
  })

  test('says when no server runs, and what is no address', async () => {
    const wrong = await runCommand(['forget', 'nobody', '-c', haraka.dir])
    assert.equal(wrong.code, 2)
    assert.match(wrong.stderr, /'nobody' is not a mail address/)
    await haraka.end()
    const { code, stderr } = await runCommand(['forget', 'a@example.com', '-c', haraka.dir])
    assert.equal(code, 2)
    assert.match(stderr, /no running server answers at /)
  })
})
