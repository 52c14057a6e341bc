// Beside other plugins: one test for each line of the table in docs/plugins.md, with the plugins
// themselves.
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

/** Where a copy arrived, and for whom. */
type Arrived = Readonly<Record<'plain' | 'hop' | 'foreign', readonly string[]>>
const NOTHING: Arrived = { plain: [], hop: [], foreign: [] }
const EACH: Arrived = { plain: [PLAIN], hop: [HOP], foreign: [FOREIGN] }

describe('beside other plugins', { skip: skipWithout('smtp-sink') }, () => {
  // Behind a queue plugin, the next hop of a row, and the one of a foreign domain.
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
    await last?.gateway.stop()
    for (const sink of [plain, hop, foreign, lmtp]) await sink?.stop()
  })

  const fileNames = (sink: SmtpSink) => sink.messages().map(({ file }) => file)
  const fresh = (sink: SmtpSink): SinkMessage[] =>
    sink.messages().filter(({ file }) => !seen.has(file))
  const recipients = (sink: SmtpSink) => fresh(sink).flatMap(({ rcpt_to }) => rcpt_to)
  const smtpForward = () => `host=127.0.0.1\nport=${plain.port}\n`

  /** The gateway of the last test: the next one of the same options has it too. */
  let last: { readonly like: string; readonly gateway: Gateway } | undefined

  async function beside(
    options: Partial<GatewayOptions>,
    test: (gateway: Gateway) => Promise<void>,
  ): Promise<void> {
    const like = JSON.stringify(options)
    if (last?.like !== like) {
      await last?.gateway.stop()
      last = undefined
      last = { like, gateway: await startBeside(options) }
    } else last.gateway.forgetLog()
    await test(last.gateway)
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

  /** smtp-sink writes a message down some time after it has taken it. */
  async function assertArrived(gateway: Gateway, expected: Arrived): Promise<void> {
    await until(
      () => gateway.queueFiles().length === 0,
      () => gateway.log().slice(-3000),
    )
    await until(() => isDeepStrictEqual(now(), expected), '', 20_000).catch(() => {})
    assert.deepEqual(now(), expected)
    // What should not have come could still do so.
    await sleep(200)
    assert.deepEqual(now(), expected)
  }

  describe('rcpt_to.in_host_list', () => {
    it('after us is never asked: an unlisted recipient is unknown', () =>
      beside(
        { plugins: ['gal-relay', 'rcpt_to.in_host_list', 'test-queue'], hostList: ['in.test'] },
        async (gateway) => {
          assert.deepEqual((await send(gateway, STRANGER, [PLAIN, 'no@in.test'])).rcpt, [250, 550])
        },
      ))

    it('before us accepts its domains unasked, and is warned about', () =>
      beside(
        { plugins: ['rcpt_to.in_host_list', 'gal-relay', 'test-queue'], hostList: ['in.test'] },
        async (gateway) => {
          assert.deepEqual(
            (await send(gateway, STRANGER, ['no@in.test', FOREIGN])).rcpt,
            [250, 550],
          )
          await gateway.waitForLog(/plugin rcpt_to\.in_host_list comes before gal-relay/)
        },
      ))
  })

  describe('queue/smtp_forward', () => {
    const forward = {
      plugins: ['gal-relay', 'queue/smtp_forward'],
      files: {
        'config/smtp_forward.ini': '',
      },
    }

    it('gets the plain inbound recipients and nobody else, whoever sends', () =>
      beside(
        { ...forward, files: { 'config/smtp_forward.ini': smtpForward() } },
        async (gateway) => {
          const { data } = await send(gateway, TRUSTED, ALL)
          assert.equal(data?.code, 250)
          await assertArrived(gateway, EACH)
          const { rcpt } = await send(gateway, STRANGER, [...ALL, 'y@backup.test'])
          assert.deepEqual(rcpt, [250, 250, 550, 250])
          await assertArrived(gateway, {
            plain: [PLAIN, PLAIN],
            hop: [HOP, HOP],
            foreign: [FOREIGN, 'y@backup.test'],
          })
        },
      ))

    it('gets no more with enable_outbound, check_recipient and sections for our domains', () => {
      const sections = ['hop.test', 'foreign.test', 'in.test'].map(
        (domain) => `[${domain}]\n${smtpForward()}`,
      )
      const ini = `${smtpForward()}enable_outbound=true\ncheck_recipient=true\n${sections.join('')}`
      return beside({ ...forward, files: { 'config/smtp_forward.ini': ini } }, async (gateway) => {
        assert.equal((await send(gateway, TRUSTED, ALL)).data?.code, 250)
        await assertArrived(gateway, EACH)
        assert.equal((await send(gateway, TRUSTED, [HOP, FOREIGN])).data?.code, 250)
        await assertArrived(gateway, {
          plain: [PLAIN],
          hop: [HOP, HOP],
          foreign: [FOREIGN, FOREIGN],
        })
      })
    })
  })

  it('queue/smtp_forward before us with check_recipient accepts its domains unasked, and is warned about', () =>
    beside(
      {
        plugins: ['queue/smtp_forward', 'gal-relay'],
        files: {
          'config/smtp_forward.ini': `${smtpForward()}check_recipient=true\n[in.test]\n${smtpForward()}`,
        },
      },
      async (gateway) => {
        await gateway.waitForLog(/plugin queue\/smtp_forward comes before gal-relay/)
        assert.deepEqual((await send(gateway, STRANGER, ['no@in.test', FOREIGN])).rcpt, [250, 550])
      },
    ))

  describe('queue/smtp_proxy', () => {
    const proxy = (enableOutbound: boolean, ini = '') => ({
      plugins: ['gal-relay', 'queue/smtp_proxy'],
      ini: `[restrictions]\nhosts[] = ${TRUSTED}\n${ini}`,
      files: {
        'config/smtp_proxy.ini': `${smtpForward()}enable_outbound=${enableOutbound}\n`,
      },
    })
    const DEFER = '[routing]\nmixed = defer\n'
    const WARNING = /plugin queue\/smtp_proxy also delivers to recipients that leave .*: set (.*)$/

    it('with mixed = defer and enable_outbound = false gets the plain inbound recipients', () =>
      beside(proxy(false, DEFER), async (gateway) => {
        assert.deepEqual((await send(gateway, TRUSTED, ALL)).rcpt, [250, 452, 452])
        for (const other of [HOP, FOREIGN]) {
          assert.equal((await send(gateway, TRUSTED, [other])).data?.code, 250)
        }
        await assertArrived(gateway, EACH)
        assert.deepEqual(gateway.logLines(WARNING), [])
      }))

    it('as Haraka ships it delivers the rest twice or in the wrong place, and is warned about', () =>
      beside(proxy(true), async (gateway) => {
        const line = await gateway.waitForLog(WARNING)
        assert.match(line, /set \[routing\] mixed = defer and enable_outbound = false in /)
        assert.equal((await send(gateway, TRUSTED, ALL)).data?.code, 250)
        await assertArrived(gateway, { ...EACH, plain: ALL })
        assert.equal((await send(gateway, TRUSTED, [HOP])).data?.code, 250)
        await assertArrived(gateway, { ...EACH, plain: [...ALL, HOP].sort() })
      }))
  })

  it('queue/lmtp gets the plain inbound recipients and nobody else', () =>
    beside(
      {
        plugins: ['gal-relay', 'queue/lmtp'],
        files: { 'config/lmtp.ini': `host=127.0.0.1\nport=${lmtp.port}\n` },
      },
      async (gateway) => {
        assert.equal((await send(gateway, TRUSTED, ALL)).data?.code, 250)
        await assertArrived(gateway, { ...EACH, plain: [] })
        await until(
          () => recipients(lmtp).length > 0,
          () => gateway.log(),
        )
        assert.deepEqual(recipients(lmtp), [PLAIN])
      },
    ))

  // A filter that marks messages, as their subject says.
  const MARKS = `
exports.hook_data_post = (next, { transaction }) => {
  const { notes, header } = transaction
  const [mark, action] = header.get('Subject').trim().split(' ')
  if (mark === 'wants') notes.set('queue.wants', action)
  else if (mark !== 'company') notes[mark] = true
  if (mark === 'quarantine' && action) notes.quarantine_action = [OK, 'kept']
  next()
}`
  const marking = (...plugins: string[]) => ({
    plugins: ['marks', ...plugins, 'queue/smtp_forward'],
    files: {
      'plugins/marks.js': MARKS,
      'config/smtp_forward.ini': `${smtpForward()}enable_outbound=true\n`,
    },
  })
  const parts = [ALL, [HOP], [FOREIGN], [PLAIN]]

  describe('queue/discard', () => {
    for (const plugins of [
      ['queue/discard', 'gal-relay'],
      ['gal-relay', 'queue/discard'],
    ]) {
      it(`in the order ${plugins.join(', ')}: what a filter marks is discarded for everybody`, () =>
        beside(marking(...plugins), async (gateway) => {
          for (const to of parts) {
            for (const subject of ['discard', 'wants discard']) {
              assert.equal((await send(gateway, TRUSTED, to, subject)).data?.code, 250)
            }
          }
          await assertArrived(gateway, NOTHING)
          assert.equal((await send(gateway, TRUSTED, ALL)).data?.code, 250)
          await assertArrived(gateway, EACH)
        }))
    }

    it('missing: what a filter marks is deferred, and does not go out', () =>
      beside(marking('gal-relay'), async (gateway) => {
        for (const to of [[HOP], [FOREIGN]]) {
          assert.equal((await send(gateway, TRUSTED, to, 'discard')).data?.code, 450)
        }
        await assertArrived(gateway, NOTHING)
      }))
  })

  describe('queue/quarantine', () => {
    const folder = mkdtempSync(path.join(tmpdir(), 'quarantine-'))
    after(() => rmSync(folder, { recursive: true, force: true }))
    const quarantine = () => {
      const marks = marking('queue/quarantine', 'gal-relay')
      const files = { ...marks.files, 'config/quarantine.ini': `quarantine_path=${folder}\n` }
      return { ...marks, files }
    }

    it('what queue/quarantine has kept can be sent again, to the same recipients the same way', () =>
      beside(quarantine(), async (gateway) => {
        for (const to of parts) {
          await send(gateway, TRUSTED, to, 'quarantine action')
          const all = readdirSync(folder, { recursive: true, withFileTypes: true })
          const kept = all.find((file) => file.isFile())
          assert.ok(kept)
          const file = path.join(kept.parentPath, kept.name)
          const copy = readFileSync(file, 'latin1')
          rmSync(file)
          const smtp = await gateway.client(TRUSTED)
          const released = copy
            .replace('Subject: quarantine action', 'Subject: released')
            .replace(/\r?\n/g, '\r\n')
          const { data } = await smtp.transaction(
            'a@sender.test',
            to,
            Buffer.from(released, 'latin1'),
          )
          assert.equal(data?.code, 250, data?.line)
          await smtp.quit()
        }
        const twice = (one: string) => [one, one]
        await assertArrived(gateway, {
          plain: twice(PLAIN),
          hop: twice(HOP),
          foreign: twice(FOREIGN),
        })
      }))

    it('queue/quarantine keeps a copy; with an action nothing of the message goes out', () =>
      beside(quarantine(), async (gateway) => {
        const kept = () =>
          existsSync(folder)
            ? readdirSync(folder, { recursive: true, withFileTypes: true }).filter((f) =>
                f.isFile(),
              )
            : []
        for (const to of parts) {
          const { data } = await send(gateway, TRUSTED, to, 'quarantine action')
          assert.equal(data?.code, 250)
        }
        await assertArrived(gateway, NOTHING)
        assert.equal(kept().length, parts.length)
        assert.equal((await send(gateway, TRUSTED, ALL, 'quarantine')).data?.code, 250)
        await assertArrived(gateway, EACH)
        assert.equal(kept().length, parts.length + 1)
      }))
  })

  describe('relay', () => {
    const relay = (domains: Readonly<Record<string, object>>) => ({
      plugins: ['gal-relay', 'relay', 'test-queue'],
      files: {
        'config/relay.ini': '[relay]\nacl=true\nforce_routing=true\ndest_domains=true\n',
        'config/relay_acl_allow': `${STRANGER}/32\n`,
        'config/relay_dest_domains.ini': `[domains]\n${Object.entries(domains)
          .map(([domain, route]) => `${domain} = ${JSON.stringify(route)}\n`)
          .join('')}`,
      },
    })

    it('lets nobody relay whom our restrictions do not: relay_acl_allow and relay_dest_domains', () =>
      beside(
        relay({ 'foreign.test': { action: 'accept' }, 'other.test': { action: 'accept' } }),
        async (gateway) => {
          const { rcpt } = await send(gateway, STRANGER, [FOREIGN, 'y@other.test', PLAIN])
          assert.deepEqual(rcpt, [550, 550, 250])
        },
      ))

    it('before us with all = true makes an open relay, which is warned about', () =>
      beside(
        {
          plugins: ['relay', 'gal-relay', 'test-queue'],
          files: { 'config/relay.ini': '[relay]\nacl=false\nforce_routing=false\nall=true\n' },
        },
        async (gateway) => {
          await gateway.waitForLog(/OPEN RELAY: plugin relay comes before gal-relay/)
          assert.deepEqual((await send(gateway, STRANGER, [FOREIGN])).rcpt, [250])
        },
      ))

    it('says where foreign domains without a row go, and nothing over a row', () =>
      beside(
        relay({
          any: { nexthop: `127.0.0.1:${plain.port}` },
          'hop.test': { nexthop: `127.0.0.1:${plain.port}` },
        }),
        async (gateway) => {
          assert.equal(
            (await send(gateway, TRUSTED, [HOP, FOREIGN, 'y@other.test'])).data?.code,
            250,
          )
          await assertArrived(gateway, { ...EACH, plain: ['y@other.test'] })
        },
      ))
  })

  describe('recipient-routes', () => {
    const routes = (...plugins: string[]) => ({
      plugins: [...plugins, 'test-queue'],
      files: {
        'config/rcpt_to.routes.ini': [
          '[redis]\nenabled=false\n[routes]',
          ...['in.test', 'hop.test', 'other.test'].map(
            (d) => `${d}=smtp://127.0.0.1:${plain.port}`,
          ),
          '',
        ].join('\n'),
      },
    })

    it('after us is asked for no recipient; it says where foreign domains without a row go', () =>
      beside(routes('gal-relay', 'recipient-routes'), async (gateway) => {
        assert.deepEqual(
          (await send(gateway, STRANGER, ['no@in.test', 'y@other.test'])).rcpt,
          [550, 550],
        )
        assert.equal((await send(gateway, TRUSTED, [HOP, 'y@other.test'])).data?.code, 250)
        await assertArrived(gateway, {
          plain: ['y@other.test'],
          hop: [HOP],
          foreign: [],
        })
      }))

    it('before us accepts its recipients unasked, and is warned about', () =>
      beside(routes('recipient-routes', 'gal-relay'), async (gateway) => {
        assert.deepEqual((await send(gateway, STRANGER, ['no@in.test', FOREIGN])).rcpt, [250, 550])
        await gateway.waitForLog(/plugin recipient-routes comes before gal-relay/)
      }))
  })

  it('access before us refuses its blacklist, and accepts its whitelist when told to, with a warning', async () => {
    const access = (accept: boolean) => ({
      plugins: ['access', 'gal-relay', 'test-queue'],
      files: {
        'config/access.ini': `[rcpt]\naccept = ${accept}\n`,
        'config/rcpt_to.access.blacklist': `${PLAIN}\n`,
        'config/rcpt_to.access.whitelist': `${FOREIGN}\n`,
      },
    })
    const to = [PLAIN, 'carl@in.test', FOREIGN]
    await beside(access(false), async (gateway) => {
      assert.deepEqual((await send(gateway, STRANGER, to)).rcpt, [550, 250, 550])
      assert.deepEqual(gateway.logLines(/plugin access comes before/), [])
    })
    await beside(access(true), async (gateway) => {
      await gateway.waitForLog(/plugin access comes before gal-relay/)
      assert.deepEqual((await send(gateway, STRANGER, to)).rcpt, [550, 250, 250])
    })
  })

  it('ldap with [aliases]: what it puts into the place of a recipient is decided', () => {
    // As haraka-plugin-ldap does it, which cannot be loaded without a directory of its own.
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
    return beside(
      {
        plugins: ['ldap', 'gal-relay', 'queue/smtp_forward'],
        files: {
          'plugins/ldap.js': LDAP,
          'config/ldap.ini': '[aliases]\n',
          'config/smtp_forward.ini': smtpForward(),
        },
      },
      async (gateway) => {
        assert.deepEqual((await send(gateway, STRANGER, ['out@in.test'])).rcpt, [550])
        assert.equal((await send(gateway, STRANGER, ['both@in.test'])).data?.code, 250)
        await assertArrived(gateway, { ...NOTHING, plain: [PLAIN, 'carl@in.test'] })
        assert.equal((await send(gateway, TRUSTED, ['out@in.test'])).data?.code, 250)
        await assertArrived(gateway, {
          ...NOTHING,
          plain: [PLAIN, 'carl@in.test'],
          foreign: [FOREIGN],
        })
      },
    )
  })

  describe('aliases', () => {
    const aliases = (...plugins: string[]) => ({
      plugins: [...plugins, 'queue/smtp_forward'],
      routes: ['renamed.test = inbound'],
      files: {
        'config/smtp_forward.ini': smtpForward(),
        'config/aliases.json': JSON.stringify({
          'team@in.test': { action: 'alias', to: [PLAIN, HOP] },
          'mixed@in.test': { action: 'alias', to: ['carl@in.test', FOREIGN] },
          'moved@in.test': { action: 'alias', to: 'listed@renamed.test' },
          'away@in.test': { action: 'alias', to: FOREIGN },
          'gone@in.test': { action: 'alias', to: ['carl@in.test', 'no@in.test'] },
          'black@in.test': { action: 'drop' },
        }),
      },
    })

    it('before us: what an alias stands for is decided, and goes its way', () =>
      beside(aliases('aliases', 'gal-relay'), async (gateway) => {
        assert.equal((await send(gateway, STRANGER, ['team@in.test'])).data?.code, 250)
        await assertArrived(gateway, { plain: [PLAIN], hop: [HOP], foreign: [] })
        assert.equal((await send(gateway, STRANGER, ['moved@in.test'])).data?.code, 250)
        const plain = [PLAIN, 'listed@renamed.test']
        await assertArrived(gateway, { plain, hop: [HOP], foreign: [] })
      }))

    it('before us: an alias is no way to relay, and leaves nobody behind when it is refused', () =>
      beside(aliases('aliases', 'gal-relay'), async (gateway) => {
        const to = ['away@in.test', 'mixed@in.test', 'gone@in.test', PLAIN]
        assert.deepEqual((await send(gateway, STRANGER, to)).rcpt, [550, 550, 550, 250])
        await assertArrived(gateway, { plain: [PLAIN], hop: [], foreign: [] })
        assert.deepEqual((await send(gateway, TRUSTED, ['mixed@in.test'])).rcpt, [250])
        await assertArrived(gateway, {
          plain: [PLAIN, 'carl@in.test'],
          hop: [],
          foreign: [FOREIGN],
        })
      }))

    it('before us: a refusal is logged for the recipient as the sender wrote it', () =>
      beside(aliases('aliases', 'gal-relay'), async (gateway) => {
        await send(gateway, STRANGER, ['away@in.test'])
        await gateway.waitForLog(/refused.*recipient=away@in\.test .*rule=no-relay-nobody/)
      }))

    it('before us: drop discards the whole message', () =>
      beside(aliases('aliases', 'gal-relay'), async (gateway) => {
        const { rcpt } = await send(gateway, TRUSTED, [HOP, 'black@in.test'])
        assert.deepEqual(rcpt, [250, 550], 'a dropped recipient is looked up all the same')
        await assertArrived(gateway, NOTHING)
      }))

    it('before us: with mixed = defer an alias of both kinds goes both ways in its own transaction', () =>
      beside(
        {
          ...aliases('aliases', 'gal-relay'),
          ini: `[routing]\nmixed = defer\n[restrictions]\nhosts[] = ${TRUSTED}\n`,
        },
        async (gateway) => {
          assert.deepEqual((await send(gateway, TRUSTED, ['mixed@in.test', HOP])).rcpt, [250, 452])
          await assertArrived(gateway, {
            plain: ['carl@in.test'],
            hop: [],
            foreign: [FOREIGN],
          })
        },
      ))

    it('after us is never asked, and warned about', () =>
      beside(aliases('gal-relay', 'aliases'), async (gateway) => {
        assert.deepEqual((await send(gateway, STRANGER, ['team@in.test'])).rcpt, [550])
        await gateway.waitForLog(/plugin aliases comes after gal-relay .* is never asked/)
      }))
  })

  describe('dkim', () => {
    const key = generateKeyPairSync('rsa', {
      modulusLength: 1024,
      publicKeyEncoding: { type: 'spki', format: 'pem' },
      privateKeyEncoding: { type: 'pkcs1', format: 'pem' },
    }).privateKey
    const dkim = (...plugins: string[]) => ({
      plugins,
      files: {
        'config/dkim.ini': '[sign]\nenabled=true\n[verify]\nenabled=false\n',
        'config/dkim/sender.test/private': key,
        'config/dkim/sender.test/selector': 'test\n',
        'config/smtp_forward.ini': `${smtpForward()}enable_outbound=true\n`,
        'config/lmtp.ini': `host=127.0.0.1\nport=${lmtp.port}\n`,
      },
    })
    const signed = (...sinks: SmtpSink[]) =>
      sinks
        .flatMap(fresh)
        .filter(({ headers }) => headers.some((header) => /^DKIM-Signature:/.test(header)))
        .flatMap(({ rcpt_to }) => rcpt_to)
        .sort()

    for (const plugins of [
      ['dkim', 'gal-relay', 'queue/smtp_forward'],
      ['gal-relay', 'queue/smtp_forward', 'dkim'],
    ]) {
      it(`in the order ${plugins.join(', ')}: signs what leaves for a client that may relay, only`, () =>
        beside(dkim(...plugins), async (gateway) => {
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
        }))
    }

    it('signs all of what goes to the outbound queue when some of it leaves', () =>
      beside(dkim('gal-relay', 'queue/smtp_forward', 'dkim'), async (gateway) => {
        await send(gateway, TRUSTED, [HOP, FOREIGN])
        await send(gateway, TRUSTED, [PLAIN, HOP, FOREIGN])
        await assertArrived(gateway, {
          plain: [PLAIN],
          hop: [HOP, HOP],
          foreign: [FOREIGN, FOREIGN],
        })
        assert.deepEqual(signed(plain, hop, foreign), [HOP, HOP, FOREIGN, FOREIGN])
      }))

    it('does not sign what queue/lmtp delivers', () =>
      beside(dkim('gal-relay', 'queue/lmtp', 'dkim'), async (gateway) => {
        await send(gateway, TRUSTED, [PLAIN, FOREIGN])
        await send(gateway, STRANGER, [PLAIN])
        await until(() => recipients(lmtp).length === 2, 'LMTP delivers')
        await assertArrived(gateway, { plain: [], hop: [], foreign: [FOREIGN] })
        assert.deepEqual(signed(lmtp, foreign), [FOREIGN])
      }))
  })

  it('rspamd looks at the mail of every client that may not relay, wherever it goes', async () => {
    let scans = 0
    const rspamd = createServer((request, response) => {
      scans++
      request.resume().once('end', () => {
        response.end(
          JSON.stringify({ score: 0, required_score: 15, action: 'no action', symbols: {} }),
        )
      })
    })
    rspamd.listen(0, '127.0.0.1')
    await once(rspamd, 'listening')
    const { port } = rspamd.address() as AddressInfo
    try {
      await beside(
        {
          plugins: ['rspamd', 'gal-relay', 'queue/smtp_forward'],
          files: {
            'config/rspamd.ini': `host=127.0.0.1\nport=${port}\n[check]\nprivate_ip=true\n`,
            'config/smtp_forward.ini': smtpForward(),
          },
        },
        async (gateway) => {
          const looked: number[] = []
          for (const client of [STRANGER, TRUSTED]) {
            for (const to of [[PLAIN], [HOP], ['y@backup.test'], [PLAIN, HOP]]) {
              const earlier = scans
              assert.equal((await send(gateway, client, to)).data?.code, 250)
              looked.push(scans - earlier)
            }
          }
          assert.deepEqual(looked, [1, 1, 1, 1, 0, 0, 0, 0])
        },
      )
    } finally {
      rspamd.close()
    }
  })
})
