// Redis over TLS (`rediss://`, `tls_ca`): lists that are published and received, lists that servers share, and
// harvest defence. And what is logged, and how mail is answered, if the CA is the wrong one.
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { type CertificateAuthority, makeAuthority } from '../support/certificates'
import { loadCommand } from '../support/command'
import {
  ABSENT,
  type Edge,
  FOUND,
  type Publisher,
  startEdge,
  startPublisher,
  stopEdge,
} from '../support/edge'
import { freePort } from '../support/ports'
import { skipWithout } from '../support/programs'
import { type RedisServer, startRedis } from '../support/redis-server'
import { type Slapd, startSlapd, unitEntry } from '../support/slapd'
import { connectSmtp } from '../support/smtp'
import { until } from '../support/until'

const { runCommand } = loadCommand()

const KNOWN = 'known1@example.com'
/** A recipient of the directory whose list the servers share. */
const shared = (name: string) => `${name}@shared.example`
const HARVESTER = '198.51.100.7'
const unitOf = (ou: string) => `ou=${ou},dc=corp,dc=test`
const person = (name: string, ou: string, mail = `${name}@example.com`) => ({
  dn: `cn=${name},${unitOf(ou)}`,
  mail,
})

/** @returns the codes of the replies to a client that asks for made-up names */
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
  /** Each receives a published list, and shares one of another directory. */
  let gateways: Edge[] = []
  const harvest = '[harvest]\nenabled = true\nslow_down = 0s\nexempt[] = 203.0.113.0/24\n'
  const redisSection = (ca: string) => `[redis]\nurl = rediss://localhost:${port}\ntls_ca = ${ca}\n`
  const gatewayIni = (ca: string) => `${harvest}${redisSection(ca)}
[directory shared]
domains[] = shared.example
url[] = ${slapd.url}
base = ${unitOf('shared')}
mode = snapshot
share = redis
`
  before(async () => {
    authority = makeAuthority()
    other = makeAuthority()
    const issued = authority.issue()
    port = await freePort()
    slapd = await startSlapd({
      entries: [
        ...['published', 'shared'].map((ou) => unitEntry(unitOf(ou))),
        person('known1', 'published'),
        person('known1', 'shared', shared('known1')),
      ],
    })
    redis = await startRedis({
      conf: [
        ...[`tls-port ${port}`, `tls-cert-file ${issued.cert}`, `tls-key-file ${issued.key}`],
        ...[`tls-ca-cert-file ${authority.ca}`, 'tls-auth-clients no'],
      ],
    })
    publisher = await startPublisher({
      slapd: { url: slapd.url, base: unitOf('published') },
      ini: redisSection(authority.ca),
    })
    gateways = await Promise.all(
      [1, 2].map(() => startEdge({ ini: gatewayIni(authority.ca), hostList: ['shared.example'] })),
    )
  })
  after(async () => {
    await Promise.all(gateways.map(stopEdge))
    await publisher?.stop()
    await redis?.stop()
    await slapd?.stop()
    authority?.remove()
    other?.remove()
  })

  test('carries a list to the gateways, and its changes', async () => {
    for (const gateway of gateways) await gateway.answers(KNOWN, FOUND)
    await slapd.add(person('new', 'published'))
    for (const gateway of gateways) await gateway.answers('new@example.com', FOUND)
    const { code, stdout } = await runCommand(['check', '-c', gateways[0]?.dir ?? ''])
    assert.equal(code, 0, stdout)
    assert.match(stdout, new RegExp(`rediss://localhost:${port} answers: Redis 7`))
  })

  test('carries a list that servers share', async () => {
    await slapd.add(person('new', 'shared', shared('new')))
    for (const gateway of gateways) {
      await gateway.answers(shared('new'), FOUND)
      await gateway.waitForLog(
        /the list is in force: \d+ recipients, list shared|reads the list shared/,
      )
    }
    await until(() => gateways.some((one) => one.log().includes('list shared number')))
  })

  test('has gateways count together', async () => {
    const [first, second] = gateways
    assert.ok(first && second)
    assert.equal((await asks(first, 40)).filter((code) => code === 550).length, 30)
    await until(async () => (await asks(second, 1))[0] === 421)
    assert.deepEqual(second.logLines(/held off: /), [])
    // A server counts by what Redis has before Redis has told it which clients are held off.
    const list = () => runCommand(['harvest', '-c', second.dir])
    await until(async () => (await list()).stdout.includes(HARVESTER))
    const { code, stdout, stderr } = await runCommand([
      ...['harvest', 'release', HARVESTER, '-c', second.dir],
    ])
    assert.equal(code, 0, stdout + stderr)
    for (const gateway of gateways) await until(async () => (await asks(gateway, 1))[0] === 550)
  })

  test('is refused with the wrong CA, which is logged, and mail goes on', async () => {
    const [gateway] = gateways
    assert.ok(gateway)
    const unchanged = `[routes]\nexample.com = inbound\n[gal]\nmode = received\n[snapshot]\nchanges_every = 1s\nkey_file = ${gateway.key.file}\n`
    await gateway.reload(unchanged + gatewayIni(other.ca))
    await gateway.waitForLog(/list default from rediss:.* cannot be received: .*certificate/)
    await gateway.waitForLog(/Redis cannot be asked \(.*certificate.*\): each process counts/)
    await gateway.waitForLog(/the list shared cannot be shared by rediss:.*certificate/)
    assert.deepEqual(await gateway.ask(KNOWN), [FOUND])
    await slapd.add(person('newer', 'published'))
    // The other directory it may ask.
    await slapd.add(person('newer', 'shared', shared('newer')))
    await gateway.answers(shared('newer'), FOUND)
    await gateway.answers(shared('nobody'), ABSENT)
    const { code, stdout } = await runCommand(['check', '-c', gateway.dir])
    assert.equal(code, 1, stdout)
    assert.match(stdout, /cannot be asked: .*certificate/)
    await gateway.reload(unchanged + gatewayIni(authority.ca))
    await gateway.answers('newer@example.com', FOUND)
  })
})
