// Redis over TLS (`rediss://`, `tls_ca`): lists that are published and received, lists that servers share, and
// harvest defence; and what is said, and what mail is answered, where the CA is another one.
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, before, describe, test } from 'node:test'
import { type CertificateAuthority, makeAuthority } from '../support/certificates'
import { runCommand } from '../support/command'
import {
  ABSENT,
  type Edge,
  FOUND,
  keyFileIn,
  type Publisher,
  SECRET,
  startEdge,
  startPublisher,
  stopEdge,
  withQuestions,
} from '../support/edge'
import { startHaraka } from '../support/haraka'
import { freePort } from '../support/ports'
import { skipWithout } from '../support/programs'
import { type RedisServer, startRedis } from '../support/redis-server'
import { type Slapd, startSlapd } from '../support/slapd'
import { connectSmtp } from '../support/smtp'
import { until } from '../support/until'

const KNOWN = 'known1@example.com'
const NOBODY = 'nobody@example.com'
const HARVESTER = '198.51.100.7'

/** What somebody gets who asks for made-up names. */
async function asks({ port }: Edge, count: number): Promise<number[]> {
  const smtp = await connectSmtp({ port, proxy: { client: HARVESTER, local: '10.0.0.5:25' } })
  const codes: number[] = smtp.greeting.code === 220 ? [] : [smtp.greeting.code]
  if (codes.length === 0) {
    await smtp.ehlo()
    await smtp.mail('a@b.example')
    while (codes.length < count && codes.at(-1) !== 421) {
      codes.push((await smtp.rcpt(`guess${codes.length}@example.com`)).code)
    }
  }
  smtp.close()
  return codes
}

describe('Redis over TLS', {
  skip: skipWithout('slapd', 'slapadd', 'ldapmodify', 'redis-server', 'openssl'),
}, () => {
  let slapd: Slapd
  let redis: RedisServer
  let authority: CertificateAuthority
  let other: CertificateAuthority
  let port: number
  let publisher: Publisher
  let gateways: Edge[] = []
  let sharing: Edge[] = []
  const folder = mkdtempSync(path.join(tmpdir(), 'tls-'))
  const key = keyFileIn(folder)
  const redisSection = (ca: string, prefix = 'gal-relay:') =>
    `[redis]\nurl = rediss://localhost:${port}\ntls_ca = ${ca}\nprefix = ${prefix}\n`
  const HARVEST = '[harvest]\nenabled = true\nslow_down = 0s\nexempt[] = 203.0.113.0/24\n'
  const receivedIni = (ca: string) => `${HARVEST}${redisSection(ca)}`
  const sharedIni = (ca: string) => `[routes]
example.com = inbound
[gal]
mode = snapshot
[ldap]
url[] = ${slapd.url}
base = ${slapd.base}
[snapshot]
changes_every = 1s
share = redis
key_file = ${key.file}
${redisSection(ca, 'shared:')}
`
  before(async () => {
    key.write(SECRET)
    authority = makeAuthority()
    other = makeAuthority()
    const issued = authority.issue()
    port = await freePort()
    slapd = await startSlapd({ entries: [KNOWN] })
    redis = await startRedis({
      conf: [
        ...[`tls-port ${port}`, `tls-cert-file ${issued.cert}`, `tls-key-file ${issued.key}`],
        ...[`tls-ca-cert-file ${authority.ca}`, 'tls-auth-clients no'],
      ],
    })
    publisher = await startPublisher({ slapd, ini: redisSection(authority.ca) })
    gateways = await Promise.all([1, 2].map(() => startEdge({ ini: receivedIni(authority.ca) })))
    sharing = await Promise.all(
      [1, 2].map(async () => {
        const haraka = await startHaraka({ outbound: false, ini: sharedIni(authority.ca) })
        return withQuestions(haraka, key)
      }),
    )
  })
  after(async () => {
    await Promise.all([...gateways.map(stopEdge), ...sharing.map((haraka) => haraka.stop())])
    await publisher?.stop()
    await redis?.stop()
    await slapd?.stop()
    authority?.remove()
    other?.remove()
    rmSync(folder, { recursive: true, force: true })
  })

  test('carries a list to the gateways, and its changes', async () => {
    for (const gateway of gateways) await gateway.answers(KNOWN, FOUND)
    await slapd.add('new@example.com')
    for (const gateway of gateways) await gateway.answers('new@example.com', FOUND)
    const { code, stdout } = await runCommand(['check', '-c', gateways[0]?.dir ?? ''])
    assert.equal(code, 0, stdout)
    assert.match(stdout, new RegExp(`rediss://localhost:${port} answers: Redis 7`))
  })

  test('carries a list that servers share', async () => {
    for (const haraka of sharing) {
      await haraka.answers('new@example.com', FOUND)
      await haraka.waitForLog(/the list is in force: 2 recipients|reads the list default and publ/)
    }
    await until(() => sharing.some((one) => one.log().includes('list default number')))
  })

  test('has gateways count together', async () => {
    const [first, second] = gateways
    assert.ok(first && second)
    assert.equal((await asks(first, 40)).filter((code) => code === 550).length, 30)
    await until(async () => (await asks(second, 1))[0] === 421)
    assert.deepEqual(second.logLines(/held off: /), [])
    // A server counts by what Redis has before it has told who is held off.
    const list = () => runCommand(['harvest', '-c', second.dir])
    await until(async () => (await list()).stdout.includes(HARVESTER))
    const { code, stdout, stderr } = await runCommand([
      ...['harvest', 'release', HARVESTER, '-c', second.dir],
    ])
    assert.equal(code, 0, stdout + stderr)
    for (const gateway of gateways) await until(async () => (await asks(gateway, 1))[0] === 550)
  })

  test('says that the CA is another one, and mail goes on', async () => {
    const [gateway] = gateways
    const [server] = sharing
    assert.ok(gateway && server)
    const unchanged = `[routes]\nexample.com = inbound\n[gal]\nmode = received\n[snapshot]\nchanges_every = 1s\nkey_file = ${gateway.key.file}\n`
    await gateway.reload(unchanged + receivedIni(other.ca))
    await server.reload(sharedIni(other.ca))
    await gateway.waitForLog(/list default from rediss:.* cannot be received: .*certificate/)
    await gateway.waitForLog(/Redis cannot be asked \(.*certificate.*\): each process counts/)
    await server.waitForLog(/the list default cannot be shared by rediss:.*certificate/)
    assert.deepEqual(await gateway.ask(KNOWN), [FOUND])
    // It may ask the directory.
    await slapd.add('newer@example.com')
    await server.answers('newer@example.com', FOUND)
    await server.answers(NOBODY, ABSENT)
    for (const { dir } of [gateway, server]) {
      const { code, stdout } = await runCommand(['check', '-c', dir])
      assert.equal(code, 1, stdout)
      assert.match(stdout, /cannot be asked: .*certificate/)
    }
    await gateway.reload(unchanged + receivedIni(authority.ca))
    await gateway.answers('newer@example.com', FOUND)
  })
})
