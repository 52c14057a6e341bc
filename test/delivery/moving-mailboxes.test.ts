// Mail that waits for mailboxes. When a mailbox moves, the next attempt follows it, to the address by which
// its new server knows it; nothing changes while the directory does not say where the mailbox is.
import assert from 'node:assert/strict'
import { after, afterEach, before, describe, it } from 'node:test'
import { runJson } from '../support/command'
import type { Attributes } from '../support/ldif'
import { type MailboxGateway, MESSAGE, startMailboxGateway } from '../support/mailbox-gateway'
import { freePort } from '../support/ports'
import { skipWithout } from '../support/programs'
import { connectSmtp } from '../support/smtp'
import { type SmtpSink, startSink } from '../support/smtp-sink'
import { until } from '../support/until'

/** A mailbox that moves, its attributes before and after, and the address that its mail then leaves by. */
type Move = readonly [name: string, was: Attributes, is: Attributes, leavesAs: string | undefined]
const HOST = { mailHost: 'old' }
const CLOUD = { mailRoutingAddress: 'x@old-cloud.test' }
const BOTH = { mailHost: 'old', mailRoutingAddress: 'x@inside.test' }
const IN_CLOUD = 'y@new-cloud.test'
const MOVES: readonly Move[] = [
  ['host', HOST, { mailHost: 'new' }, undefined],
  ['named', HOST, { mailHost: 'new', mailRoutingAddress: 'n@new.test' }, 'n@new.test'],
  ['unnamed', BOTH, { mailHost: 'new', mailRoutingAddress: [] }, undefined],
  ['cloud', CLOUD, { mailRoutingAddress: IN_CLOUD }, IN_CLOUD],
  ['down', CLOUD, { mailRoutingAddress: [], mailHost: 'new' }, undefined],
  ['up', HOST, { mailRoutingAddress: 'z@new-cloud.test', mailHost: [] }, 'z@new-cloud.test'],
]
/** Mailboxes that move to this server. */
const HOME: readonly Move[] = [
  ['queue', HOST, { mailHost: 'here' }, undefined],
  ['box', HOST, { mailHost: 'here', mailRoutingAddress: 'b@here.test' }, 'b@here.test'],
  ['back', CLOUD, { mailRoutingAddress: [] }, undefined],
]
/** Mailboxes of which the directory no longer says anything that can be followed. */
const UNMOVED = ['gone', 'doubtful', 'strange', 'same']

describe('mail that waits for a mailbox', { skip: skipWithout('slapd', 'smtp-sink') }, () => {
  let other: SmtpSink
  let senders: SmtpSink
  let down: number
  let gateway: MailboxGateway

  const hopTo = (port: number) => `smtp://127.0.0.1:${port}`
  const at = (mailHost: string, ...names: readonly string[]) =>
    names.map((name) => ({ mail: `${name}@corp.test`, mailHost }))
  const routes = () => [
    'corp.test = inbound',
    `old-cloud.test = forward ${hopTo(down)}`,
    `new-cloud.test = forward ${hopTo(other.port)}`,
    `sender.test = forward ${hopTo(senders.port)}`,
  ]
  const hosts = () => [`old = ${hopTo(down)}`, `new = ${hopTo(other.port)}`, 'here = local']
  // Each test has mailboxes of its own.
  const sales = {
    mail: 'emil@corp.test',
    proxyAddresses: ['SMTP:emil@corp.test', 'smtp:sales@corp.test'],
    mailRoutingAddress: 'a@old-cloud.test',
  }

  before(async () => {
    other = await startSink()
    senders = await startSink()
    down = await freePort()
    gateway = await startMailboxGateway({
      entries: [
        ...[...MOVES, ...HOME].map(([name, was]) => ({ mail: `${name}@corp.test`, ...was })),
        ...at('old', 'ann', 'bob', ...UNMOVED, 'carl', 'dora', 'fred', 'gina'),
        ...at('secret', 'hugo'),
        sales,
      ],
      routes: routes(),
      hosts: [...hosts(), `secret = smtp://gal:hunter2@127.0.0.1:${down}`],
    })
  })
  after(async () => {
    await gateway?.stop()
    await other?.stop()
    await senders?.stop()
  })
  afterEach(() => isEmpty())

  /** Sends a message, and waits until an attempt to deliver it has failed. */
  const sendInVain = async (...names: string[]) => {
    const from = gateway.haraka.log().length
    const { rcpt, data } = await gateway.send(names.map((name) => `${name}@corp.test`))
    for (const { code, line } of rcpt) assert.equal(code, 250, line)
    assert.equal(data?.code, 250, data?.line)
    await gateway.haraka.waitForLog(/Temp failing/, undefined, from)
  }
  const tryAgain = () =>
    gateway.haraka.waitForLog(/Temp failing/, undefined, gateway.haraka.log().length)
  const modify = (name: string, values: Parameters<MailboxGateway['slapd']['modify']>[1]) =>
    gateway.slapd.modify(gateway.slapd.dnOf(`${name}@corp.test`), values)
  const isEmpty = () => until(() => gateway.haraka.queueFiles().length === 0)
  const seenBy = (sink: SmtpSink) => sink.messages().map(({ file }) => file)

  /** Starts a server on a port that was dead. @returns the recipients that it gets until nothing waits */
  async function allArriveAt(port: number, messages: number): Promise<string[]> {
    const sink = await startSink({ port })
    try {
      await isEmpty()
      return (await sink.taken(messages)).flatMap(({ rcpt_to }) => rcpt_to)
    } finally {
      await sink.stop()
    }
  }

  /** @returns the recipients of the messages that the sink gets meanwhile */
  async function whatArrives(sink: SmtpSink, count: number, act: () => Promise<void>) {
    const seen = new Set(seenBy(sink))
    const fresh = () => sink.messages().filter(({ file }) => !seen.has(file))
    await act()
    await until(() => fresh().length >= count)
    return fresh().flatMap(({ rcpt_to }) => rcpt_to)
  }

  async function whileDirectoryIsDown(act: () => Promise<void>): Promise<void> {
    await gateway.slapd.kill()
    try {
      await act()
    } finally {
      const from = gateway.haraka.log().length
      await gateway.slapd.restart()
      await gateway.haraka.waitForLog(/directory \S+ is up/, undefined, from)
    }
  }

  it('follows each mailbox that has moved, to the address by which it is known there', async () => {
    const all = [...MOVES, ...HOME]
    const before = gateway.haraka.delivered().length
    for (const [name] of all) await sendInVain(name)
    const arrived = await whatArrives(other, MOVES.length, async () => {
      for (const [name, , is] of all) await modify(name, is)
      await isEmpty()
      await until(() => gateway.haraka.delivered().length >= before + HOME.length)
    })
    const leaving = (cases: typeof MOVES) =>
      cases.map(([name, , , as]) => as ?? `${name}@corp.test`).sort()
    assert.deepEqual(arrived.sort(), leaving(MOVES))
    const queued = gateway.haraka.delivered().slice(before)
    assert.deepEqual(queued.flatMap(({ rcpt_to }) => rcpt_to).sort(), leaving(HOME))
    assert.deepEqual(new Set(queued.map(({ mail_from }) => mail_from)), new Set(['a@sender.test']))
  })

  it('leaves the others that it waits with, if it moves alone', async () => {
    await sendInVain('ann', 'bob')
    assert.equal(gateway.haraka.queueFiles().length, 1)
    const arrived = await whatArrives(other, 1, () => modify('bob', { mailHost: 'new' }))
    assert.deepEqual(arrived, ['bob@corp.test'])
    assert.deepEqual(await allArriveAt(down, 1), ['ann@corp.test'])
  })

  it('keeps its host while the directory names no other, whatever the rows say', async () => {
    for (const name of UNMOVED) await sendInVain(name)
    await gateway.set({ routes: [`corp.test = inbound ${hopTo(other.port)}`] })
    await gateway.slapd.delete(gateway.slapd.dnOf('gone@corp.test'))
    await gateway.slapd.add({ mail: 'doubtful@corp.test', mailHost: 'new' })
    await modify('strange', { mailHost: 'not a host' })
    const before = seenBy(other)
    const from = gateway.haraka.log().length
    await gateway.haraka.waitForLog(/doubtful@corp\.test goes .*contradict/, undefined, from)
    await gateway.haraka.waitForLog(/strange@corp\.test goes .*'not a host'/, undefined, from)
    for (const _ of UNMOVED) await tryAgain()
    const { json } = await runJson<{ waiting: readonly { next_hops: readonly string[] }[] }>([
      ...['drain', '--config', gateway.haraka.dir],
    ])
    assert.deepEqual(
      json.waiting.map(({ next_hops }) => next_hops),
      [[hopTo(down)]],
    )
    await whileDirectoryIsDown(async () => {
      for (const _ of UNMOVED) await tryAgain()
      assert.deepEqual(seenBy(other), before)
      const arrived = await allArriveAt(down, UNMOVED.length)
      assert.deepEqual(arrived.sort(), UNMOVED.map((name) => `${name}@corp.test`).sort())
    })
    await gateway.set({ routes: routes() })
  })

  it('waits for the host where it was last known to be', async () => {
    const next = await freePort()
    await sendInVain('carl')
    await modify('carl', { mailHost: hopTo(next), mailRoutingAddress: 'a.nn@next.test' })
    await tryAgain()
    await tryAgain()
    await whileDirectoryIsDown(async () => {
      await tryAgain()
      assert.deepEqual(await allArriveAt(next, 1), ['a.nn@next.test'])
    })
  })

  it('bounces with the address that the sender wrote, after the mailbox has moved', async () => {
    const refusing = await startSink({ args: ['-f', 'RCPT', '-B', '550 5.1.1 nobody here'] })
    try {
      await sendInVain('dora')
      const seen = new Set(seenBy(senders))
      await modify('dora', { mailHost: hopTo(refusing.port), mailRoutingAddress: 'a.nn@next.test' })
      const fresh = () => senders.messages().filter(({ file }) => !seen.has(file))
      await until(() => fresh().length > 0)
      const body = fresh()[0]?.body ?? ''
      assert.match(body, /Final-Recipient: rfc822;dora@corp\.test\n/)
      assert.doesNotMatch(body, /a\.nn@/)
    } finally {
      await refusing.stop()
    }
  })

  it('has no password in its file, and waits while the settings no longer have it', async () => {
    await sendInVain('hugo')
    await whileDirectoryIsDown(async () => {
      await gateway.set({ hosts: hosts() })
      await gateway.haraka.waitForLog(/with it the password for gal at smtp:\/\/127\.0\.0\.1/)
      const [file, ...others] = gateway.haraka.outboundMessages()
      assert.ok(file && others.length === 0)
      assert.doesNotMatch(JSON.stringify(file.todo), /hunter2/)
      assert.doesNotMatch(gateway.haraka.log(), /hunter2/)
    })
    await modify('hugo', { mailHost: 'here' })
  })

  it('for several addresses of a mailbox leaves once, and follows it', async () => {
    await sendInVain('emil', 'sales')
    const arrived = await whatArrives(other, 1, async () => {
      await modify('emil', { mailRoutingAddress: 'a@new-cloud.test' })
      await isEmpty()
    })
    assert.deepEqual(arrived, ['a@new-cloud.test'])
  })

  it('goes one recipient at a time when the mailboxes have moved behind LMTP', async () => {
    const lmtp = await startSink({ lmtp: true })
    try {
      await sendInVain('fred', 'gina')
      await modify('fred', { mailHost: `lmtp://127.0.0.1:${lmtp.port}` })
      await modify('gina', { mailHost: `lmtp://127.0.0.1:${lmtp.port}` })
      await isEmpty()
      const arrived = await lmtp.taken(2)
      assert.deepEqual(arrived.map(({ rcpt_to }) => rcpt_to).sort(), [
        ['fred@corp.test'],
        ['gina@corp.test'],
      ])
    } finally {
      await lmtp.stop()
    }
  })
})

describe('mail for a mailbox elsewhere', { skip: skipWithout('slapd') }, () => {
  const [OLD, NEW] = ['smtp://192.0.2.1:25', 'smtp://192.0.2.2:25']
  let gateway: MailboxGateway

  before(async () => {
    gateway = await startMailboxGateway({
      outbound: false,
      entries: [
        { mail: 'ann@corp.test', mailHost: 'old' },
        { mail: 'bob@corp.test', mailHost: 'old' },
        { mail: 'near@corp.test', mailHost: 'here' },
        { mail: 'sky@corp.test', mailRoutingAddress: 'x@cloud.test' },
        { mail: 'moon@corp.test', mailHost: 'new', mailRoutingAddress: 'm@moon.test' },
      ],
      routes: ['corp.test = inbound', 'cloud.test = always-relay'],
      hosts: [`old = ${OLD}`, `new = ${NEW}`, 'here = local'],
    })
  })
  after(() => gateway?.stop())

  it('has in its file what is needed to follow the mailbox, and no more', async () => {
    const before = new Set(gateway.haraka.queueFiles())
    const { data } = await gateway.send(['Ann+x@corp.test', 'moon@corp.test', 'sky@corp.test'])
    assert.equal(data?.code, 250)
    const notes = gateway.haraka
      .outboundMessages()
      .filter(({ file }) => !before.has(file))
      .map(({ domain, notes }) => [domain, notes.gal_relay])
    const smtputf8 = false
    assert.deepEqual(Object.fromEntries(notes), {
      'corp.test': {
        routes: [['corp.test', { hops: [{ url: OLD }] }]],
        written: [],
        mailboxes: [{ leaving: 'Ann+x@corp.test', asked: 'Ann+x@corp.test', byHost: true }],
        smtputf8,
      },
      'moon.test': {
        routes: [['moon.test', { hops: [{ url: NEW }] }]],
        written: [['m@moon.test', 'moon@corp.test']],
        mailboxes: [{ leaving: 'm@moon.test', asked: 'moon@corp.test', byHost: true }],
        smtputf8,
      },
      'cloud.test': {
        routes: [['cloud.test', { hops: [], backup: true }]],
        written: [['x@cloud.test', 'sky@corp.test']],
        mailboxes: [{ leaving: 'x@cloud.test', asked: 'sky@corp.test' }],
        smtputf8,
      },
    })
  })

  it('has to come in its own transaction with mixed = defer', async () => {
    await gateway.set({ ini: '[routing]\nmixed = defer' })
    const client = await connectSmtp({ port: gateway.haraka.port })
    await client.ehlo()
    const to = ['ann@corp.test', 'near@corp.test', 'bob@corp.test']
    const { rcpt } = await client.transaction('a@sender.test', to, MESSAGE)
    await client.quit()
    assert.deepEqual(
      rcpt.map(({ code, enhanced }) => [code, enhanced]),
      [
        [250, undefined],
        [452, '4.5.3'],
        [250, undefined],
      ],
    )
    await gateway.set({ ini: '' })
  })
})
