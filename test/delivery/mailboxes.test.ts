// Mail for mailboxes on several servers, as the directory says: each copy arrives once, at the right server
// and under the right address, and senders see only the address that they wrote.
import assert from 'node:assert/strict'
import { generateKeyPairSync } from 'node:crypto'
import { after, before, describe, it } from 'node:test'
import type { Explanation } from '../../plugins/gal-relay/advice/explain'
import { loadCommand } from '../support/command'
import {
  type MailboxGateway,
  type SendOptions,
  startMailboxGateway,
} from '../support/mailbox-gateway'
import { freePort } from '../support/ports'
import { skipWithout } from '../support/programs'
import { type SmtpSink, startSink } from '../support/smtp-sink'
import { until } from '../support/until'

const { runJson } = loadCommand()

const SINKS = ['ex1', 'ex2', 'ex3', 'cloud', 'backup', 'senders', 'refusing', 'default'] as const
type SinkName = (typeof SINKS)[number]

const PRIVATE_KEY = generateKeyPairSync('rsa', {
  modulusLength: 1024,
  publicKeyEncoding: { type: 'spki', format: 'pem' },
  privateKeyEncoding: { type: 'pkcs1', format: 'pem' },
}).privateKey

const SAY_WHAT_PLUGINS_SEE = `exports.hook_data_post = function (next, connection) {
  const { transaction, relaying } = connection
  const { pass } = transaction.results.get('gal-relay')
  connection.lognotice(this, 'relaying ' + relaying + ' from ' + transaction.mail_from + ': ' + pass)
  next()
}
`

describe('mailboxes on several servers', { skip: skipWithout('slapd', 'smtp-sink') }, () => {
  const sinks = {} as Record<SinkName, SmtpSink>
  let gateway: MailboxGateway
  /** Messages of earlier tests. */
  let seen = new Set<string>()

  before(async () => {
    for (const name of SINKS) {
      sinks[name] = await startSink({
        lmtp: name === 'ex3',
        args: name === 'refusing' ? ['-f', 'RCPT', '-B', '550 5.1.1 nobody here'] : [],
      })
    }
    const at = (name: SinkName) => `smtp://127.0.0.1:${sinks[name].port}`
    const down = await freePort()
    const hosted = (mail: string, mailHost: string, mailRoutingAddress?: string | string[]) => ({
      mail: `${mail}@corp.test`,
      mailHost,
      ...(mailRoutingAddress ? { mailRoutingAddress } : {}),
    })
    const known = (mail: string, mailRoutingAddress: string | string[]) => ({
      mail: `${mail}@corp.test`,
      mailRoutingAddress,
    })
    gateway = await startMailboxGateway({
      plugins: ['test-retry', 'aliases', 'gal-relay', 'say', 'dkim', 'test-queue'],
      entries: [
        { ...hosted('one', 'EX1'), proxyAddresses: ['SMTP:one@corp.test', 'smtp:first@corp.test'] },
        hosted('two', at('ex2')),
        hosted('three', '/o=Corp/ou=First/cn=Configuration/cn=Servers/cn=ex3'),
        known('sky', 'smtp:sky@tenant.cloud.test'),
        hosted('local', 'here', 'box.local@inside.test'),
        'plain@corp.test',
        hosted('both', 'ex2', 'b.oth@ex2.inside.test'),
        known('twin1', 'twins@tenant.cloud.test'),
        known('twin2', 'twins@tenant.cloud.test'),
        known('saved', 'saved@backup.test'),
        known('refused', 'r.e.f@refusing.test'),
        hosted('down', `smtp://127.0.0.1:${down}`, 'd.o.w.n@down.test'),
        hosted('nonsense', 'not a host'),
        hosted('secret', 'smtp://user:hunter2@ex9.test'),
        known('several', ['x@tenant.cloud.test', 'y@tenant.cloud.test']),
        known('nowhere', 'no address'),
        known('shared', 'other@shared.test'),
        'routed@hop.test',
      ],
      routes: [
        'corp.test = inbound',
        `hop.test = inbound ${at('default')}`,
        `cloud.test = forward ${at('cloud')}`,
        `backup.test = always-relay ${at('backup')}`,
        `shared.test = shared ${at('cloud')}`,
        `sender.test = forward ${at('senders')}`,
        `refusing.test = forward ${at('refusing')}`,
      ],
      hosts: [
        `ex1 = ${at('ex1')}`,
        `ex2 = ${at('ex2')}`,
        `ex3 = lmtp://127.0.0.1:${sinks.ex3.port}`,
        'here = local',
      ],
      files: {
        'plugins/say.js': SAY_WHAT_PLUGINS_SEE,
        'config/outbound.ini': 'temp_fail_intervals=5s\n',
        'config/aliases.json': JSON.stringify({
          'all@corp.test': { action: 'alias', to: ['one@corp.test', 'sky@corp.test'] },
        }),
        'config/dkim.ini': '[sign]\nenabled=true\n[verify]\nenabled=false\n',
        'config/dkim/sender.test/private': PRIVATE_KEY,
        'config/dkim/sender.test/selector': 'test\n',
      },
    })
  })
  after(async () => {
    await gateway?.stop()
    for (const sink of Object.values(sinks)) await sink.stop()
  })

  const send: MailboxGateway['send'] = async (to, options) => {
    seen = new Set([
      ...Object.values(sinks).flatMap((sink) => sink.messages().map(({ file }) => file)),
      ...gateway.haraka.delivered().map(({ uuid }) => uuid),
    ])
    return gateway.send(to, options)
  }
  const fresh = (name: SinkName) => sinks[name].messages().filter(({ file }) => !seen.has(file))
  const queued = () => gateway.haraka.delivered().filter(({ uuid }) => !seen.has(uuid))

  type Copies = Readonly<Record<string, readonly string[]>>

  /** The recipients of the last message by where a copy has arrived for them. */
  function copies(): Copies {
    const arrived = [
      ...SINKS.map((name) => [name, fresh(name).flatMap(({ rcpt_to }) => rcpt_to)] as const),
      ['queue', queued().flatMap(({ rcpt_to }) => rcpt_to)] as const,
    ]
    return Object.fromEntries(
      arrived.flatMap(([name, to]) => (to.length > 0 ? [[name, [...to].sort()]] : [])),
    )
  }

  async function assertArrives(
    to: readonly string[],
    expected: Copies,
    options?: SendOptions,
  ): Promise<void> {
    const { rcpt, data } = await send(to, options)
    assert.deepEqual(
      rcpt.map(({ code }) => code),
      to.map(() => 250),
    )
    assert.equal(data?.code, 250, data?.line)
    await until(() => gateway.haraka.queueFiles().length === 0)
    // smtp-sink writes a message to its file some time after it has accepted it.
    const count = (arrived: Copies) => Object.values(arrived).flat().length
    await until(() => count(copies()) >= count(expected))
    assert.deepEqual(copies(), expected)
  }

  it('each get a message for all of them once, under their own addresses', async () => {
    const to = ['one', 'two', 'three', 'sky', 'local', 'plain', 'both']
    await assertArrives(
      to.map((name) => `${name}@corp.test`),
      {
        ex1: ['one@corp.test'],
        ex2: ['b.oth@ex2.inside.test', 'two@corp.test'],
        ex3: ['three@corp.test'],
        cloud: ['sky@tenant.cloud.test'],
        queue: ['box.local@inside.test', 'plain@corp.test'],
      },
    )
    for (const { mail_from, body } of SINKS.flatMap(fresh)) {
      assert.deepEqual([mail_from, body], ['a@sender.test', 'Hello.\n'])
    }
  })

  const cases: readonly (readonly [
    what: string,
    to: readonly string[],
    expected: Copies,
    trusted?: boolean,
  ])[] = [
    [
      'sub-addresses go with the mailbox',
      ['one+lists@corp.test', 'three+lists@corp.test'],
      { ex1: ['one+lists@corp.test'], ex3: ['three+lists@corp.test'] },
    ],
    [
      'two entries that lead to one routing address get one copy',
      ['twin1@corp.test', 'twin2@corp.test'],
      { cloud: ['twins@tenant.cloud.test'] },
    ],
    [
      'a mailbox and its routing address get one copy, too',
      ['sky@corp.test', 'sky@tenant.cloud.test'],
      { cloud: ['sky@tenant.cloud.test'] },
      true,
    ],
    [
      'each target of an alias goes where its mailbox is',
      ['all@corp.test'],
      { ex1: ['one@corp.test'], cloud: ['sky@tenant.cloud.test'] },
    ],
    [
      'a routing address at a shared domain leaves for the shared host',
      ['shared@corp.test'],
      { cloud: ['other@shared.test'] },
    ],
    [
      'the next hop of a row is for recipients of which the directory names no host',
      ['routed@hop.test', 'one@corp.test'],
      { default: ['routed@hop.test'], ex1: ['one@corp.test'] },
    ],
  ]
  for (const [what, to, expected, trusted] of cases) {
    it(what, () => assertArrives(to, expected, { trusted }))
  }

  it('a routing address lets nobody relay', async () => {
    const { rcpt } = await send(['sky@tenant.cloud.test', 'b.oth@ex2.inside.test'])
    assert.deepEqual(
      rcpt.map(({ code, enhanced }) => [code, enhanced]),
      rcpt.map(() => [550, '5.7.1']),
    )
  })

  describe('signs with DKIM', () => {
    const signed = () =>
      SINKS.flatMap(fresh)
        .filter(({ headers }) => headers.some((header) => /^DKIM-Signature:/.test(header)))
        .flatMap(({ rcpt_to }) => rcpt_to)
    const cases: readonly (readonly [
      string,
      readonly string[],
      Copies,
      boolean,
      readonly string[],
    ])[] = [
      [
        'what goes to the cloud for a client that may relay',
        ['sky@corp.test'],
        { cloud: ['sky@tenant.cloud.test'] },
        true,
        ['sky@tenant.cloud.test'],
      ],
      [
        'nothing that goes there for a client that may not relay',
        ['sky@corp.test'],
        { cloud: ['sky@tenant.cloud.test'] },
        false,
        [],
      ],
      [
        'nothing that stays on our own servers',
        ['one@corp.test', 'two@corp.test'],
        { ex1: ['one@corp.test'], ex2: ['two@corp.test'] },
        true,
        [],
      ],
    ]
    for (const [what, to, expected, trusted, withSignature] of cases) {
      it(what, async () => {
        const from = trusted ? 'trusted@sender.test' : 'stranger@sender.test'
        await assertArrives(to, expected, { from, trusted })
        assert.deepEqual(signed(), withSignature)
        const said = gateway.haraka.logLines(new RegExp(`relaying \\w+ from <${from}>`)).at(-1)
        assert.match(said ?? '', new RegExp(`relaying ${trusted} from`))
      })
    }
  })

  describe('a bounce', () => {
    const cases = [
      ['that its next hop refuses', 'refused', /Diagnostic-Code: smtp;550 5\.1\.1/],
      ['whose server is down', 'down', /Status: [45]/],
    ] as const
    for (const [what, name, field] of cases) {
      it(`for a mailbox ${what} names the address that the sender wrote`, async () => {
        const from = `${name}@sender.test`
        const recipient = `${name[0]?.toUpperCase()}${name.slice(1)}@corp.test`
        const { data } = await send([recipient], { from })
        assert.equal(data?.code, 250)
        await until(() => fresh('senders').length > 0)
        const [bounce] = fresh('senders')
        assert.ok(bounce)
        assert.deepEqual([bounce.mail_from, bounce.rcpt_to], ['', [from]])
        assert.ok(bounce.body.includes(`Final-Recipient: rfc822;${recipient}\n`), bounce.body)
        assert.match(bounce.body, field)
        assert.doesNotMatch(bounce.body, /r\.e\.f@|d\.o\.w\.n@/)
      })
    }

    it('to a mailbox goes to the server of that mailbox', async () => {
      await send(['refused@corp.test'], { from: 'two@corp.test' })
      await until(() => fresh('ex2').length > 0)
      const [bounce] = fresh('ex2')
      assert.deepEqual([bounce?.mail_from, bounce?.rcpt_to], ['', ['two@corp.test']])
    })
  })

  describe('answers 451 4.3.5, and says why in the log,', () => {
    before(async () => {
      const mailHost = `smtp://127.0.0.1:${gateway.haraka.port}`
      await gateway.slapd.add({ mail: 'ourselves@corp.test', mailHost })
    })
    const cases = [
      [
        'for a host that is this Haraka itself',
        'ourselves',
        /its host smtp:\/\/127\.0\.0\.1:\d+ is this Haraka/,
      ],
      [
        'for a host that is not a host name',
        'nonsense',
        /its host 'not a host' is not in \[hosts\]/,
      ],
      [
        'for a password in the directory',
        'secret',
        /its host 'smtp:\/\/\*\*\*@ex9\.test' is not in/,
      ],
      ['for two routing addresses', 'several', /its entries contradict each other/],
      [
        'for a routing address that is not an address',
        'nowhere',
        /its routing address 'no address' is not a mail address/,
      ],
    ] as const
    for (const [what, name, why] of cases) {
      it(what, async () => {
        const from = gateway.haraka.log().length
        const { rcpt } = await send([`${name}@corp.test`])
        assert.deepEqual(
          rcpt.map(({ code, enhanced }) => [code, enhanced]),
          [[451, '4.3.5']],
        )
        const line = await gateway.haraka.waitForLog(/rule=misrouted/, undefined, from)
        assert.match(line, why)
        assert.doesNotMatch(line, /hunter2/)
      })
    }
  })

  it('are explained', async () => {
    const explained = async (name: string) => {
      const { port, dir } = gateway.haraka
      const where = ['--client', '127.0.0.1', '--listener', `127.0.0.1:${port}`]
      const args = ['explain', `${name}@corp.test`, '--config', dir, ...where]
      const { json } = await runJson<{ recipients: readonly Explanation[] }>(args)
      const [explanation] = json.recipients
      return (explanation?.steps ?? [])
        .filter(({ step }) => ['directory', 'answer', 'delivery'].includes(step))
        .map(({ text }) => text.replace(/ \(\d.* ms\)/, ''))
    }
    const [found, place, answer] = await explained('nonsense')
    assert.equal(found, 'nonsense@corp.test is in the directory')
    assert.match(place ?? '', /^where its mail goes is not known: its host 'not a host' /)
    assert.match(
      answer ?? '',
      /^misrouted: .*: its host 'not a host' is not in \[hosts\], and is not a host name/,
    )
    const [, directory, , delivery] = await explained('both')
    const both = "its host is 'ex2', its routing address is 'b.oth@ex2.inside.test'"
    assert.ok(directory?.startsWith(`${both}: it leaves by that address, to smtp://`), directory)
    assert.match(
      delivery ?? '',
      /^goes to the outbound queue as b\.oth@ex2\.inside\.test, for smtp:\/\/127\.0\.0\.1:/,
    )
    assert.doesNotMatch((await explained('secret')).join('\n'), /hunter2/)
  })

  it('other plugins see the addresses that the sender wrote', async () => {
    const from = 'results@sender.test'
    await assertArrives(
      ['sky@corp.test', 'one+x@corp.test', 'local@corp.test'],
      {
        ex1: ['one+x@corp.test'],
        cloud: ['sky@tenant.cloud.test'],
        queue: ['box.local@inside.test'],
      },
      { from },
    )
    const [line] = gateway.haraka.logLines(new RegExp(`from <${from}>`))
    assert.match(
      line ?? '',
      /: in-gal sky@corp\.test,in-gal one\+x@corp\.test,in-gal local@corp\.test$/,
    )
  })
})
