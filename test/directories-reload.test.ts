// A reload that touches one directory leaves the others as they are: their connections, the answers that
// they remember, their lists. Directories come and go by it.
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { BerReader, messageLength, TAG } from '../plugins/gal-relay/ldap/ber'
import { type Haraka, startHaraka } from './support/haraka'
import { skipWithout } from './support/programs'
import { type Slapd, startSlapd, unitEntry } from './support/slapd'
import { connectSmtp } from './support/smtp'
import { startTcpProxy, type TcpProxy } from './support/tcp-proxy'
import { until } from './support/until'

const BASE = 'dc=corp,dc=test'
const NAMES = ['default', 'beta', 'gamma', 'delta'] as const
type Name = (typeof NAMES)[number]

const BIND_REQUEST = 0x60
const SEARCH_REQUEST = 0x63

interface Server {
  readonly proxy: TcpProxy
  /** Requests that have come so far. */
  binds: number
  searches: number
}

describe('a reload that touches one directory', { skip: skipWithout('slapd', 'slapadd') }, () => {
  let slapd: Slapd
  let servers: Record<Name, Server>
  before(async () => {
    slapd = await startSlapd({
      entries: NAMES.flatMap((ou) => [
        unitEntry(`ou=${ou},${BASE}`),
        { dn: `uid=ann,ou=${ou},${BASE}`, mail: `ann@${ou}.example` },
      ]),
    })
    const all = await Promise.all(NAMES.map(async (name) => [name, await server()] as const))
    servers = Object.fromEntries(all) as Record<Name, Server>
  })
  after(async () => {
    for (const { proxy } of Object.values(servers ?? {})) await proxy.stop()
    await slapd?.stop()
  })

  /** To count what comes for one directory: all are in one slapd. */
  async function server(): Promise<Server> {
    const counted = { binds: 0, searches: 0 }
    const onRequest = (bytes: Buffer) => {
      for (let at = 0; at < bytes.length; ) {
        const end = at + messageLength(bytes, at)
        const message = new BerReader(bytes, at, end).expect(TAG.sequence).inside()
        message.expect(TAG.integer)
        const operation = message.next()
        if (operation === BIND_REQUEST) counted.binds++
        if (operation === SEARCH_REQUEST) counted.searches++
        at = end
      }
    }
    const proxy = await startTcpProxy(slapd.port, { onRequest })
    return Object.assign(counted, { proxy })
  }

  /** @param more lines of their sections */
  function iniOf(
    names: readonly Name[],
    more: Partial<Record<Name, string>> = {},
    gal = '',
  ): string {
    const keys = (name: Name) =>
      `url[] = ldap://127.0.0.1:${servers[name].proxy.port}\nbase = ou=${name},${BASE}\n` +
      `bind_dn = ${slapd.bindDn}\nbind_password = ${slapd.password}\n${more[name] ?? ''}`
    return [
      `[routes]\n${names.map((name) => `${name}.example = inbound\n`).join('')}`,
      `[gal]\n${gal}`,
      ...names.map((name) =>
        name === 'default'
          ? `[ldap]\n${keys(name)}`
          : `[directory ${name}]\ndomains[] = ${name}.example\n${keys(name)}`,
      ),
    ].join('\n')
  }

  /** @returns the code for ann in each of them */
  async function codes(haraka: Haraka, names: readonly Name[]): Promise<number[]> {
    const proxy = { client: '203.0.113.9', local: '10.0.0.5:25' }
    const smtp = await connectSmtp({ port: haraka.port, proxy })
    try {
      await smtp.ehlo()
      const to = names.map((name) => `ann@${name}.example`)
      const { rcpt } = await smtp.transaction('a@sender.example', to)
      return rcpt.map(({ code }) => code)
    } finally {
      await smtp.quit()
    }
  }

  const seen = (name: Name) => {
    const { binds, searches, proxy } = servers[name]
    return { binds, searches, connections: proxy.connections }
  }

  test('leaves the connections and the answers of the others', async () => {
    const three = ['default', 'beta', 'gamma'] as const
    const haraka = await startHaraka({ ini: iniOf(three) })
    try {
      await until(async () => (await codes(haraka, three)).every((code) => code === 250))
      // What else is asked of a server that has just come up is over.
      let before = ''
      await until(async () => {
        const last = before
        before = JSON.stringify(three.map(seen))
        await sleep(500)
        return before === last
      })
      const [alpha, beta, gamma] = three.map(seen)
      assert.ok(alpha && beta && gamma && alpha.connections > 0)

      await haraka.reload(iniOf(three, { beta: 'cache_found = 1m\n' }))
      assert.deepEqual(await codes(haraka, three), [250, 250, 250])
      assert.deepEqual([seen('default'), seen('gamma')], [alpha, gamma])
      assert.ok(seen('beta').binds > beta.binds && seen('beta').searches > beta.searches)

      // One goes, and one comes.
      await haraka.reload(iniOf(['default', 'gamma', 'delta']))
      const after = ['default', 'beta', 'gamma', 'delta'] as const
      assert.deepEqual(await codes(haraka, after), [250, 550, 250, 250])
      await until(() => seen('beta').connections === 0)
      assert.deepEqual([seen('default'), seen('gamma')], [alpha, gamma])

      // Their answers are remembered, which need nobody now.
      for (const name of ['default', 'gamma'] as const) servers[name].proxy.closePort()
      await haraka.reload(iniOf(['default', 'gamma', 'delta'], { delta: 'cache_found = 1m\n' }))
      assert.deepEqual(await codes(haraka, ['default', 'gamma', 'delta']), [250, 250, 250])

      // The default one too may go.
      await haraka.reload(iniOf(['delta']))
      assert.deepEqual(await codes(haraka, ['default', 'delta']), [550, 250])
      assert.equal((await haraka.end('SIGINT')).signal, null)
    } finally {
      await haraka.stop()
      for (const name of ['default', 'gamma'] as const) await servers[name].proxy.openPort()
    }
  })

  test('leaves the lists of the others, and reads that of a new one', async () => {
    const two = ['default', 'beta'] as const
    const gal = 'mode = snapshot\n'
    const haraka = await startHaraka({ ini: iniOf(two, {}, gal) })
    const inForce = (name: Name) =>
      haraka.logLines(new RegExp(`${name}: .*the list is in force`)).length
    try {
      await until(() => two.every((name) => inForce(name) > 0))
      const counts = two.map(inForce)
      const { binds } = servers.default
      await haraka.reload(
        iniOf(['default', 'beta', 'gamma'], { beta: 'shrink_limit = 30%\n' }, gal),
      )
      await until(() => inForce('gamma') > 0 && inForce('beta') > (counts[1] ?? 0))
      assert.equal(inForce('default'), counts[0])
      assert.equal(servers.default.binds, binds)
      for (const { proxy } of Object.values(servers)) proxy.closePort()
      // From memory, a moment after the list has been read
      const answers = async () => (await codes(haraka, ['default', 'beta', 'gamma'])).join(' ')
      await until(async () => (await answers()) === '250 250 250')
    } finally {
      await haraka.stop()
      for (const { proxy } of Object.values(servers)) await proxy.openPort()
    }
  })
})
