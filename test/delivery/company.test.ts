// The plugin together with other plugins, which are the real ones: a test for each line of the table in
// docs/plugins.md.
import assert from 'node:assert/strict'
import { generateKeyPairSync } from 'node:crypto'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, before, beforeEach, describe, it } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { isDeepStrictEqual } from 'node:util'
import { type Gateway, type GatewayOptions, startGateway } from '../support/gateway'
import { skipWithout } from '../support/programs'
import type { Reply } from '../support/smtp'
import { type SinkMessage, type SmtpSink, startSink } from '../support/smtp-sink'
import { until } from '../support/until'

const TRUSTED = '192.168.1.7'
const STRANGER = '8.8.4.4'
const PLAIN = 'anna@in.test'
const HOP = 'bob@hop.test'
const FOREIGN = 'x@foreign.test'
const ALL = [PLAIN, HOP, FOREIGN]

/** The recipients of the copies that arrived at each place. */
type Arrived = Readonly<Record<'plain' | 'hop' | 'foreign', readonly string[]>>
const NOTHING: Arrived = { plain: [], hop: [], foreign: [] }
const EACH: Arrived = { plain: [PLAIN], hop: [HOP], foreign: [FOREIGN] }

describe('beside other plugins', { skip: skipWithout('smtp-sink') }, () => {
  // The server behind a queue plugin, the next hop of a row, and the next hop of a foreign domain.
  let plain: SmtpSink
  let hop: SmtpSink
  let foreign: SmtpSink
  let lmtp: SmtpSink
  let seen: Set<string>

  before(async () => {
    plain = await startSink()
    hop = await startSink()
    foreign = await startSink()
    lmtp = await startSink({ lmtp: true })
  })
  beforeEach(() => {
    seen = new Set([plain, hop, foreign, lmtp].flatMap(fileNames))
  })
  after(async () => {
    for (const sink of [plain, hop, foreign, lmtp]) await sink?.stop()
  })

  const fileNames = (sink: SmtpSink) => sink.messages().map(({ file }) => file)
  const fresh = (sink: SmtpSink): SinkMessage[] =>
    sink.messages().filter(({ file }) => !seen.has(file))
  const recipients = (sink: SmtpSink) => fresh(sink).flatMap(({ rcpt_to }) => rcpt_to)
  const smtpForward = () => `host=127.0.0.1\nport=${plain.port}\n`

  /** Starts one Haraka for all tests of a suite, each of which has its own domains and addresses. */
  function beside(options: () => Partial<GatewayOptions>): () => Gateway {
    let gateway: Gateway
    before(async () => {
      gateway = await startBeside(options())
    })
    after(() => gateway?.stop())
    return () => gateway
  }

  const startBeside = (options: Partial<GatewayOptions>) =>
    startGateway({
      proxy: true,
      people: [PLAIN, HOP, 'carl@in.test', 'listed@renamed.test'],
      ini: `[restrictions]\nhosts[] = ${TRUSTED}\n`,
      ...options,
      routes: [
        'in.test = inbound',
        `hop.test = inbound smtp://127.0.0.1:${hop.port}`,
        `foreign.test = forward smtp://127.0.0.1:${foreign.port}`,
        `backup.test = always-relay smtp://127.0.0.1:${foreign.port}`,
        ...(options.routes ?? []),
      ],
    })

  interface Sent {
    readonly rcpt: readonly number[]
    readonly data: Reply | undefined
  }

  async function send(
    gateway: Gateway,
    client: string,
    to: readonly string[],
    subject = 'company',
    from = 'a@sender.test',
  ): Promise<Sent> {
    const smtp = await gateway.client(client)
    const message = `From: ${from}\r\nSubject: ${subject}\r\nMessage-Id: <${subject}@sender.test>\r\n\r\nHello.\r\n`
    const { rcpt, data } = await smtp.transaction(from, to, message)
    await smtp.quit()
    return { rcpt: rcpt.map(({ code }) => code), data }
  }

  const now = (): Arrived => ({
    plain: recipients(plain).sort(),
    hop: recipients(hop).sort(),
    foreign: recipients(foreign).sort(),
  })

  /** Waits, because smtp-sink writes a message to its file some time after it has accepted it. */
  async function assertArrived(gateway: Gateway, expected: Arrived): Promise<void> {
    await until(
      () => gateway.queueFiles().length === 0,
      () => gateway.log().slice(-3000),
    )
    await until(() => isDeepStrictEqual(now(), expected), '', 20_000).catch(() => {})
    assert.deepEqual(now(), expected)
    // A copy that should not arrive could still do so.
    await sleep(200)
    assert.deepEqual(now(), expected)
  }
  describe('before gal-relay', () => {
    const gateway = beside(() => ({
      // The first one is the queue plugin.
      plugins: [
        ...['test-queue', 'access', 'rcpt_to.in_host_list', 'recipient-routes'],
        ...['queue/smtp_forward', 'gal-relay'],
      ],
      hostList: ['listed.test'],
      routes: ['listed', 'routed', 'checked'].map((name) => `${name}.test = inbound`),
      files: {
        'config/access.ini': '[rcpt]\naccept = true\n',
        'config/rcpt_to.access.blacklist': `${PLAIN}\n`,
        'config/rcpt_to.access.whitelist': 'white@foreign.test\n',
        'config/rcpt_to.routes.ini': routesTo(plain, 'routed.test', 'hop.test', 'other.test'),
        'config/smtp_forward.ini': `${smtpForward()}check_recipient=true\n[checked.test]\n${smtpForward()}`,
      },
    }))

    it('rcpt_to.in_host_list accepts its domains without a look-up, and the start warns about it', async () => {
      const { rcpt } = await send(gateway(), STRANGER, ['no@listed.test', FOREIGN])
      assert.deepEqual(rcpt, [250, 550])
      await gateway().waitForLog(/plugin rcpt_to\.in_host_list comes before gal-relay/)
    })

    it('queue/smtp_forward with check_recipient accepts its domains without a look-up, and the start warns about it', async () => {
      await gateway().waitForLog(/plugin queue\/smtp_forward comes before gal-relay/)
      const { rcpt } = await send(gateway(), STRANGER, ['no@checked.test', FOREIGN])
      assert.deepEqual(rcpt, [250, 550])
    })

    it('recipient-routes accepts its recipients without a look-up, and the start warns about it', async () => {
      const { rcpt } = await send(gateway(), STRANGER, ['no@routed.test', FOREIGN])
      assert.deepEqual(rcpt, [250, 550])
      await gateway().waitForLog(/plugin recipient-routes comes before gal-relay/)
    })

    it('access with accept = true refuses its blacklist and accepts its whitelist, and the start warns about it', async () => {
      await gateway().waitForLog(/plugin access comes before gal-relay/)
      const { rcpt } = await send(gateway(), STRANGER, [
        PLAIN,
        'carl@in.test',
        'white@foreign.test',
      ])
      assert.deepEqual(rcpt, [550, 250, 250])
    })
  })

  describe('before gal-relay, with all = true,', () => {
    const gateway = beside(() => ({
      plugins: ['relay', 'gal-relay', 'test-queue'],
      files: { 'config/relay.ini': '[relay]\nacl=false\nforce_routing=false\nall=true\n' },
    }))

    it('relay makes an open relay, and the start warns about it', async () => {
      await gateway().waitForLog(/OPEN RELAY: plugin relay comes before gal-relay/)
      assert.deepEqual((await send(gateway(), STRANGER, [FOREIGN])).rcpt, [250])
    })
  })

  describe('after gal-relay', () => {
    const gateway = beside(() => {
      const nexthop = `127.0.0.1:${plain.port}`
      const destinations = {
        any: { nexthop },
        'hop.test': { nexthop },
        'foreign.test': { action: 'accept', nexthop },
        'accepted.test': { action: 'accept' },
        // recipient-routes says where it goes.
        'routed.test': { action: 'accept' },
      }
      return {
        plugins: [
          ...['access', 'gal-relay', 'rcpt_to.in_host_list', 'recipient-routes', 'relay'],
          ...['aliases', 'test-queue'],
        ],
        hostList: ['in.test'],
        files: {
          'config/access.ini': '[rcpt]\naccept = false\n',
          'config/rcpt_to.access.blacklist': 'carl@in.test\n',
          'config/rcpt_to.access.whitelist': `${FOREIGN}\n`,
          'config/aliases.json': ALIASES,
          'config/rcpt_to.routes.ini': routesTo(plain, 'in.test', 'hop.test', 'routed.test'),
          'config/relay.ini': '[relay]\nacl=true\nforce_routing=true\ndest_domains=true\n',
          'config/relay_acl_allow': `${STRANGER}/32\n`,
          'config/relay_dest_domains.ini': `[domains]\n${Object.entries(destinations)
            .map(([domain, route]) => `${domain} = ${JSON.stringify(route)}\n`)
            .join('')}`,
        },
      }
    })

    it('rcpt_to.in_host_list is never asked: an unlisted recipient is unknown', async () => {
      const { rcpt } = await send(gateway(), STRANGER, [PLAIN, 'no@in.test'])
      assert.deepEqual(rcpt, [250, 550])
    })

    it('relay_acl_allow and relay_dest_domains let nobody relay: the restrictions decide', async () => {
      const { rcpt } = await send(gateway(), STRANGER, [FOREIGN, 'y@accepted.test', PLAIN])
      assert.deepEqual(rcpt, [550, 550, 250])
    })

    it('relay says where mail for foreign domains without a row goes; a row takes precedence', async () => {
      const to = [HOP, FOREIGN, 'y@other.test']
      assert.equal((await send(gateway(), TRUSTED, to)).data?.code, 250)
      await assertArrived(gateway(), { ...EACH, plain: ['y@other.test'] })
    })

    it('recipient-routes is never asked about a recipient; it says where mail for foreign domains without a row goes', async () => {
      const { rcpt } = await send(gateway(), STRANGER, ['no@in.test', 'y@routed.test'])
      assert.deepEqual(rcpt, [550, 550])
      assert.equal((await send(gateway(), TRUSTED, [HOP, 'y@routed.test'])).data?.code, 250)
      await assertArrived(gateway(), { plain: ['y@routed.test'], hop: [HOP], foreign: [] })
    })

    it('aliases is never asked, and the start warns about it', async () => {
      assert.deepEqual((await send(gateway(), STRANGER, ['team@in.test'])).rcpt, [550])
      await gateway().waitForLog(/plugin aliases comes after gal-relay .* is never asked/)
    })

    it('access before gal-relay, without accept = true, refuses its blacklist and accepts nobody', async () => {
      const { rcpt } = await send(gateway(), STRANGER, ['carl@in.test', PLAIN, FOREIGN])
      assert.deepEqual(rcpt, [550, 250, 550])
      assert.deepEqual(gateway().logLines(/plugin access comes before/), [])
    })
  })

  describe('before queue/smtp_forward', () => {
    let scans = 0
    const rspamd = createServer((request, response) => {
      scans++
      request.resume().once('end', () => {
        response.end(
          JSON.stringify({ score: 0, required_score: 15, action: 'no action', symbols: {} }),
        )
      })
    })
    before(async () => {
      rspamd.listen(0, '127.0.0.1')
      await once(rspamd, 'listening')
    })
    after(() => rspamd.close())

    const trusted = `[restrictions]\nhosts[] = ${TRUSTED}\n`
    const gateway = beside(() => ({
      plugins: ['rspamd', 'ldap', 'aliases', 'gal-relay', 'queue/smtp_forward'],
      routes: ['renamed.test = inbound'],
      ini: trusted,
      files: {
        'plugins/ldap.js': LDAP,
        'config/ldap.ini': '[aliases]\n',
        'config/aliases.json': ALIASES,
        'config/rspamd.ini': `host=127.0.0.1\nport=${(rspamd.address() as AddressInfo).port}\n[check]\nprivate_ip=true\n`,
        'config/smtp_forward.ini': smtpForward(),
      },
    }))

    it('queue/smtp_forward gets the plain inbound recipients and nobody else, whoever sends', async () => {
      const { data } = await send(gateway(), TRUSTED, ALL)
      assert.equal(data?.code, 250)
      await assertArrived(gateway(), EACH)
      const { rcpt } = await send(gateway(), STRANGER, [...ALL, 'y@backup.test'])
      assert.deepEqual(rcpt, [250, 250, 550, 250])
      await assertArrived(gateway(), {
        plain: [PLAIN, PLAIN],
        hop: [HOP, HOP],
        foreign: [FOREIGN, 'y@backup.test'],
      })
    })

    it('ldap with [aliases]: the recipients that it substitutes are decided', async () => {
      assert.deepEqual((await send(gateway(), STRANGER, ['out@in.test'])).rcpt, [550])
      assert.equal((await send(gateway(), STRANGER, ['both@in.test'])).data?.code, 250)
      await assertArrived(gateway(), { ...NOTHING, plain: [PLAIN, 'carl@in.test'] })
      assert.equal((await send(gateway(), TRUSTED, ['out@in.test'])).data?.code, 250)
      await assertArrived(gateway(), {
        ...NOTHING,
        plain: [PLAIN, 'carl@in.test'],
        foreign: [FOREIGN],
      })
    })

    it('aliases: the targets of an alias are decided, and each is delivered its own way', async () => {
      assert.equal((await send(gateway(), STRANGER, ['team@in.test'])).data?.code, 250)
      await assertArrived(gateway(), { plain: [PLAIN], hop: [HOP], foreign: [] })
      assert.equal((await send(gateway(), STRANGER, ['moved@in.test'])).data?.code, 250)
      const plain = [PLAIN, 'listed@renamed.test']
      await assertArrived(gateway(), { plain, hop: [HOP], foreign: [] })
    })

    it('aliases: an alias is no way to relay, and no target is left when it is refused', async () => {
      const to = ['away@in.test', 'mixed@in.test', 'gone@in.test', PLAIN]
      assert.deepEqual((await send(gateway(), STRANGER, to)).rcpt, [550, 550, 550, 250])
      await assertArrived(gateway(), { plain: [PLAIN], hop: [], foreign: [] })
      assert.deepEqual((await send(gateway(), TRUSTED, ['mixed@in.test'])).rcpt, [250])
      await assertArrived(gateway(), {
        plain: [PLAIN, 'carl@in.test'],
        hop: [],
        foreign: [FOREIGN],
      })
    })

    it('aliases: a refusal is logged for the recipient as the sender wrote it', async () => {
      const from = gateway().log().length
      await send(gateway(), STRANGER, ['away@in.test'])
      const refusal = /refused.*recipient=away@in\.test .*rule=no-relay-nobody/
      await gateway().waitForLog(refusal, undefined, from)
    })

    it('aliases: drop discards the whole message', async () => {
      const { rcpt } = await send(gateway(), TRUSTED, [HOP, 'black@in.test'])
      assert.deepEqual(rcpt, [250, 550], 'a dropped recipient is looked up all the same')
      await assertArrived(gateway(), NOTHING)
    })

    it('aliases: with mixed = defer an alias for both kinds goes both ways in its own transaction', async () => {
      await gateway().setIni(`[routing]\nmixed = defer\n${trusted}`)
      try {
        assert.deepEqual((await send(gateway(), TRUSTED, ['mixed@in.test', HOP])).rcpt, [250, 452])
        await assertArrived(gateway(), { plain: ['carl@in.test'], hop: [], foreign: [FOREIGN] })
      } finally {
        await gateway().setIni(trusted)
      }
    })

    it('rspamd scans mail from every client that may not relay, wherever it goes', async () => {
      const scanned: number[] = []
      for (const client of [STRANGER, TRUSTED]) {
        for (const to of [[PLAIN], [HOP], ['y@backup.test'], [PLAIN, HOP]]) {
          const earlier = scans
          assert.equal((await send(gateway(), client, to)).data?.code, 250)
          scanned.push(scans - earlier)
        }
      }
      assert.deepEqual(scanned, [1, 1, 1, 1, 0, 0, 0, 0])
    })
  })

  describe('queue/smtp_proxy', () => {
    const proxy = (enableOutbound: boolean, ini = '') => ({
      plugins: ['gal-relay', 'queue/smtp_proxy'],
      ini: `[restrictions]\nhosts[] = ${TRUSTED}\n${ini}`,
      files: {
        'config/smtp_proxy.ini': `${smtpForward()}enable_outbound=${enableOutbound}\n`,
      },
    })
    const WARNING = /plugin queue\/smtp_proxy also delivers to recipients that leave .*: set (.*)$/

    describe('with mixed = defer and enable_outbound = false', () => {
      const gateway = beside(() => proxy(false, '[routing]\nmixed = defer\n'))

      it('gets the plain inbound recipients', async () => {
        assert.deepEqual((await send(gateway(), TRUSTED, ALL)).rcpt, [250, 452, 452])
        for (const other of [HOP, FOREIGN]) {
          assert.equal((await send(gateway(), TRUSTED, [other])).data?.code, 250)
        }
        await assertArrived(gateway(), EACH)
        assert.deepEqual(gateway().logLines(WARNING), [])
      })
    })

    describe('as Haraka ships it', () => {
      const gateway = beside(() => proxy(true))

      it('delivers the other recipients twice or to the wrong place, and the start warns about it', async () => {
        const line = await gateway().waitForLog(WARNING)
        assert.match(line, /set \[routing\] mixed = defer and enable_outbound = false in /)
        assert.equal((await send(gateway(), TRUSTED, ALL)).data?.code, 250)
        await assertArrived(gateway(), { ...EACH, plain: ALL })
        assert.equal((await send(gateway(), TRUSTED, [HOP])).data?.code, 250)
        await assertArrived(gateway(), { ...EACH, plain: [...ALL, HOP].sort() })
      })
    })
  })

  // A filter that marks messages as their subject says.
  const MARKS = `
exports.hook_data_post = (next, { transaction }) => {
  const { notes, header } = transaction
  const [mark, action] = header.get('Subject').trim().split(' ')
  if (mark === 'wants') notes.set('queue.wants', action)
  else if (mark !== 'company') notes[mark] = true
  if (mark === 'quarantine' && action) notes.quarantine_action = [OK, 'kept']
  next()
}`
  const KEY = generateKeyPairSync('rsa', {
    modulusLength: 1024,
    publicKeyEncoding: { type: 'spki', format: 'pem' },
    privateKeyEncoding: { type: 'pkcs1', format: 'pem' },
  }).privateKey
  const markingAndSigning = (
    plugins: readonly string[],
    files: Readonly<Record<string, string>> = {},
  ) => ({
    plugins,
    files: {
      'plugins/marks.js': MARKS,
      'config/dkim.ini': '[sign]\nenabled=true\n[verify]\nenabled=false\n',
      'config/dkim/sender.test/private': KEY,
      'config/dkim/sender.test/selector': 'test\n',
      'config/smtp_forward.ini': `${smtpForward()}enable_outbound=true\n`,
      'config/lmtp.ini': `host=127.0.0.1\nport=${lmtp.port}\n`,
      ...files,
    },
  })
  const parts = [ALL, [HOP], [FOREIGN], [PLAIN]]

  async function isDiscarded(gateway: Gateway): Promise<void> {
    for (const to of parts) {
      for (const subject of ['discard', 'wants discard']) {
        assert.equal((await send(gateway, TRUSTED, to, subject)).data?.code, 250)
      }
    }
    await assertArrived(gateway, NOTHING)
    assert.equal((await send(gateway, TRUSTED, ALL)).data?.code, 250)
    await assertArrived(gateway, EACH)
  }

  const signed = (...sinks: SmtpSink[]) =>
    sinks
      .flatMap(fresh)
      .filter(({ headers }) => headers.some((header) => /^DKIM-Signature:/.test(header)))
      .flatMap(({ rcpt_to }) => rcpt_to)
      .sort()

  async function isSignedWhenItLeaves(gateway: Gateway): Promise<void> {
    await send(gateway, TRUSTED, [PLAIN, FOREIGN])
    await send(gateway, TRUSTED, ['y@backup.test'])
    await send(gateway, TRUSTED, [HOP])
    await send(gateway, STRANGER, [PLAIN, HOP, 'z@backup.test'])
    await assertArrived(gateway, {
      plain: [PLAIN, PLAIN],
      hop: [HOP, HOP],
      foreign: [FOREIGN, 'y@backup.test', 'z@backup.test'],
    })
    assert.deepEqual(signed(plain, hop, foreign), [FOREIGN, 'y@backup.test'])
  }

  describe('before gal-relay and queue/smtp_forward', () => {
    const folder = mkdtempSync(path.join(tmpdir(), 'quarantine-'))
    after(() => rmSync(folder, { recursive: true, force: true }))
    const gateway = beside(() =>
      markingAndSigning(
        ['marks', 'dkim', 'queue/discard', 'queue/quarantine', 'gal-relay', 'queue/smtp_forward'],
        { 'config/quarantine.ini': `quarantine_path=${folder}\n` },
      ),
    )

    it('queue/discard: what a filter marks is discarded for everybody', () =>
      isDiscarded(gateway()))

    it('dkim signs what leaves for a client that may relay, only', () =>
      isSignedWhenItLeaves(gateway()))

    it('queue/quarantine: a message that it kept can be sent again, to the same recipients the same way', async () => {
      for (const to of parts) {
        await send(gateway(), TRUSTED, to, 'quarantine action')
        const all = readdirSync(folder, { recursive: true, withFileTypes: true })
        const kept = all.find((file) => file.isFile())
        assert.ok(kept)
        const file = path.join(kept.parentPath, kept.name)
        const copy = readFileSync(file, 'latin1')
        rmSync(file)
        const smtp = await gateway().client(TRUSTED)
        const released = copy
          .replace('Subject: quarantine action', 'Subject: released')
          .replace(/\r?\n/g, '\r\n')
        const message = Buffer.from(released, 'latin1')
        const { data } = await smtp.transaction('a@sender.test', to, message)
        assert.equal(data?.code, 250, data?.line)
        await smtp.quit()
      }
      const twice = (one: string) => [one, one]
      await assertArrived(gateway(), {
        plain: twice(PLAIN),
        hop: twice(HOP),
        foreign: twice(FOREIGN),
      })
    })

    it('queue/quarantine keeps a copy; with an action no part of the message goes out', async () => {
      const kept = () =>
        existsSync(folder)
          ? readdirSync(folder, { recursive: true, withFileTypes: true }).filter((f) => f.isFile())
          : []
      for (const to of parts) {
        const { data } = await send(gateway(), TRUSTED, to, 'quarantine action')
        assert.equal(data?.code, 250)
      }
      await assertArrived(gateway(), NOTHING)
      assert.equal(kept().length, parts.length)
      assert.equal((await send(gateway(), TRUSTED, ALL, 'quarantine')).data?.code, 250)
      await assertArrived(gateway(), EACH)
      assert.equal(kept().length, parts.length + 1)
    })
  })

  describe('after gal-relay, filters and queue plugins', () => {
    const gateway = beside(() => {
      const sections = ['hop.test', 'foreign.test', 'in.test'].map(
        (domain) => `[${domain}]\n${smtpForward()}`,
      )
      const ini = `${smtpForward()}enable_outbound=true\ncheck_recipient=true\n${sections.join('')}`
      return markingAndSigning(
        ['marks', 'gal-relay', 'queue/discard', 'queue/smtp_forward', 'dkim'],
        { 'config/smtp_forward.ini': ini },
      )
    })

    it('queue/smtp_forward gets no more with enable_outbound, check_recipient and sections for our domains', async () => {
      assert.equal((await send(gateway(), TRUSTED, ALL)).data?.code, 250)
      await assertArrived(gateway(), EACH)
      assert.equal((await send(gateway(), TRUSTED, [HOP, FOREIGN])).data?.code, 250)
      await assertArrived(gateway(), {
        plain: [PLAIN],
        hop: [HOP, HOP],
        foreign: [FOREIGN, FOREIGN],
      })
    })

    it('queue/discard: what a filter marks is discarded for everybody', () =>
      isDiscarded(gateway()))

    it('dkim signs what leaves for a client that may relay, only', () =>
      isSignedWhenItLeaves(gateway()))

    it('dkim signs everything that goes to the outbound queue if some of it leaves', async () => {
      await send(gateway(), TRUSTED, [HOP, FOREIGN])
      await send(gateway(), TRUSTED, [PLAIN, HOP, FOREIGN])
      await assertArrived(gateway(), {
        plain: [PLAIN],
        hop: [HOP, HOP],
        foreign: [FOREIGN, FOREIGN],
      })
      assert.deepEqual(signed(plain, hop, foreign), [HOP, HOP, FOREIGN, FOREIGN])
    })
  })

  describe('after gal-relay, with queue/lmtp before queue/smtp_forward,', () => {
    const gateway = beside(() =>
      markingAndSigning(['marks', 'gal-relay', 'queue/lmtp', 'queue/smtp_forward', 'dkim']),
    )

    it('queue/lmtp gets the plain inbound recipients and nobody else', async () => {
      assert.equal((await send(gateway(), TRUSTED, ALL)).data?.code, 250)
      await assertArrived(gateway(), { ...EACH, plain: [] })
      await until(
        () => recipients(lmtp).length > 0,
        () => gateway().log(),
      )
      assert.deepEqual(recipients(lmtp), [PLAIN])
    })

    it('dkim does not sign what queue/lmtp delivers', async () => {
      await send(gateway(), TRUSTED, [PLAIN, FOREIGN])
      await send(gateway(), STRANGER, [PLAIN])
      await until(() => recipients(lmtp).length === 2, 'LMTP delivers')
      await assertArrived(gateway(), { plain: [], hop: [], foreign: [FOREIGN] })
      assert.deepEqual(signed(lmtp, foreign), [FOREIGN])
    })

    it('queue/discard missing: a message that a filter marks is deferred, and does not go out', async () => {
      for (const to of [[HOP], [FOREIGN]]) {
        assert.equal((await send(gateway(), TRUSTED, to, 'discard')).data?.code, 450)
      }
      await assertArrived(gateway(), NOTHING)
    })
  })
})

/** `config/rcpt_to.routes.ini` of recipient-routes. */
const routesTo = (sink: SmtpSink, ...domains: readonly string[]) =>
  [
    '[redis]\nenabled=false\n[routes]',
    ...domains.map((domain) => `${domain}=smtp://127.0.0.1:${sink.port}`),
    '',
  ].join('\n')

const ALIASES = JSON.stringify({
  'team@in.test': { action: 'alias', to: [PLAIN, HOP] },
  'mixed@in.test': { action: 'alias', to: ['carl@in.test', FOREIGN] },
  'moved@in.test': { action: 'alias', to: 'listed@renamed.test' },
  'away@in.test': { action: 'alias', to: FOREIGN },
  'gone@in.test': { action: 'alias', to: ['carl@in.test', 'no@in.test'] },
  'black@in.test': { action: 'drop' },
})

/** Replaces recipients as haraka-plugin-ldap does, which does not load without its own directory. */
const LDAP = `exports.hook_rcpt = function (next, connection, [{ address }]) {
  const targets = { 'both@in.test': ['${PLAIN}', 'carl@in.test'], 'out@in.test': ['${FOREIGN}'] }[address]
  const { rcpt_to } = connection.transaction
  if (targets) {
    const Address = rcpt_to[0].constructor
    rcpt_to.splice(-1, 1, ...targets.map((one) => new Address('<' + one + '>')))
  }
  next()
}
`
