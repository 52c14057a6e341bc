// Waiting mail for mailboxes: one that moves is followed at the next attempt, under the name by which its
// new place knows it; and nothing changes while the directory does not say where it is.
import assert from 'node:assert/strict'
import { after, afterEach, before, beforeEach, describe, it } from 'node:test'
import { runJson } from '../support/command'
import type { Attributes } from '../support/ldif'
import {
  type MailboxGateway,
  type MailboxGatewayOptions,
  MESSAGE,
  startMailboxGateway,
} from '../support/mailbox-gateway'
import { freePort } from '../support/ports'
import { skipWithout } from '../support/programs'
import { connectSmtp } from '../support/smtp'
import { type SmtpSink, startSink } from '../support/smtp-sink'
import { until } from '../support/until'

describe('mail that waits for a mailbox', { skip: skipWithout('slapd', 'smtp-sink') }, () => {
  let other: SmtpSink
  let senders: SmtpSink
  let down: number
  let gateway: MailboxGateway

  before(async () => {
    other = await startSink()
    senders = await startSink()
  })
  after(async () => {
    await other?.stop()
    await senders?.stop()
  })
  beforeEach(async () => {
    down = await freePort()
  })
  afterEach(() => gateway?.stop())

  const hopTo = (port: number) => `smtp://127.0.0.1:${port}`
  const start = async (options: Partial<MailboxGatewayOptions> = {}) => {
    gateway = await startMailboxGateway({
      entries: [
        { mail: 'ann@corp.test', mailHost: 'old' },
        { mail: 'bob@corp.test', mailHost: 'old' },
      ],
      routes: [
        'corp.test = inbound',
        `old-cloud.test = forward ${hopTo(down)}`,
        `new-cloud.test = forward ${hopTo(other.port)}`,
        `sender.test = forward ${hopTo(senders.port)}`,
      ],
      hosts: [`old = ${hopTo(down)}`, `new = ${hopTo(other.port)}`, 'here = local'],
      ...options,
    })
  }
  /** Sent, and tried once in vain. */
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

  /** @returns whom the messages are for that the sink gets meanwhile */
  async function whatArrives(sink: SmtpSink, count: number, act: () => Promise<void>) {
    const seen = new Set(seenBy(sink))
    const fresh = () => sink.messages().filter(({ file }) => !seen.has(file))
    await act()
    await until(() => fresh().length >= count)
    return fresh().flatMap(({ rcpt_to }) => rcpt_to)
  }

  it('follows each that has moved, under the name by which it is known there', async () => {
    const from = { host: { mailHost: 'old' }, cloud: { mailRoutingAddress: 'x@old-cloud.test' } }
    const [host, cloud] = ['new', 'y@new-cloud.test']
    const both = { mailHost: 'old', mailRoutingAddress: 'x@inside.test' }
    const moves: readonly (readonly [string, Attributes, Attributes, string | undefined])[] = [
      ['host', from.host, { mailHost: host }, undefined],
      ['named', from.host, { mailHost: host, mailRoutingAddress: 'n@new.test' }, 'n@new.test'],
      ['unnamed', both, { mailHost: host, mailRoutingAddress: [] }, undefined],
      ['cloud', from.cloud, { mailRoutingAddress: cloud }, cloud],
      ['down', from.cloud, { mailRoutingAddress: [], mailHost: host }, undefined],
      [
        'up',
        from.host,
        { mailRoutingAddress: 'z@new-cloud.test', mailHost: [] },
        'z@new-cloud.test',
      ],
    ]
    const home: typeof moves = [
      ['queue', from.host, { mailHost: 'here' }, undefined],
      ['box', from.host, { mailHost: 'here', mailRoutingAddress: 'b@here.test' }, 'b@here.test'],
      ['back', from.cloud, { mailRoutingAddress: [] }, undefined],
    ]
    const all = [...moves, ...home]
    await start({ entries: all.map(([name, was]) => ({ mail: `${name}@corp.test`, ...was })) })
    for (const [name] of all) await sendInVain(name)
    const arrived = await whatArrives(other, moves.length, async () => {
      for (const [name, , is] of all) await modify(name, is)
      await isEmpty()
      await until(() => gateway.haraka.delivered().length >= home.length)
    })
    const leaving = (cases: typeof moves) =>
      cases.map(([name, , , as]) => as ?? `${name}@corp.test`).sort()
    assert.deepEqual(arrived.sort(), leaving(moves))
    const queued = gateway.haraka.delivered()
    assert.deepEqual(queued.flatMap(({ rcpt_to }) => rcpt_to).sort(), leaving(home))
    assert.deepEqual(new Set(queued.map(({ mail_from }) => mail_from)), new Set(['a@sender.test']))
  })

  it('parts from others that it waits with, when it moves alone', async () => {
    await start()
    await sendInVain('ann', 'bob')
    assert.equal(gateway.haraka.queueFiles().length, 1)
    const arrived = await whatArrives(other, 1, () => modify('bob', { mailHost: 'new' }))
    assert.deepEqual(arrived, ['bob@corp.test'])
    const sink = await startSink({ port: down })
    try {
      await isEmpty()
      assert.deepEqual(
        (await sink.taken(1)).flatMap(({ rcpt_to }) => rcpt_to),
        ['ann@corp.test'],
      )
    } finally {
      await sink.stop()
    }
  })

  it('keeps its host while the directory does not say another, whatever the rows say', async () => {
    const names = ['gone', 'doubtful', 'strange', 'same']
    await start({ entries: names.map((name) => ({ mail: `${name}@corp.test`, mailHost: 'old' })) })
    for (const name of names) await sendInVain(name)
    await gateway.set({ routes: [`corp.test = inbound ${hopTo(other.port)}`] })
    await gateway.slapd.delete(gateway.slapd.dnOf('gone@corp.test'))
    await gateway.slapd.add({ mail: 'doubtful@corp.test', mailHost: 'new' })
    await modify('strange', { mailHost: 'not a host' })
    const before = seenBy(other)
    const from = gateway.haraka.log().length
    await gateway.haraka.waitForLog(/doubtful@corp\.test goes .*contradict/, undefined, from)
    await gateway.haraka.waitForLog(/strange@corp\.test goes .*'not a host'/, undefined, from)
    for (const _ of names) await tryAgain()
    const { json } = await runJson<{ waiting: readonly { next_hops: readonly string[] }[] }>([
      ...['drain', '--config', gateway.haraka.dir],
    ])
    assert.deepEqual(
      json.waiting.map(({ next_hops }) => next_hops),
      [[hopTo(down)]],
    )
    await gateway.slapd.kill()
    for (const _ of names) await tryAgain()
    assert.deepEqual(seenBy(other), before)
    const sink = await startSink({ port: down })
    try {
      await isEmpty()
      const arrived = await sink.taken(names.length)
      assert.deepEqual(
        arrived.flatMap(({ rcpt_to }) => rcpt_to).sort(),
        names.map((name) => `${name}@corp.test`).sort(),
      )
    } finally {
      await sink.stop()
    }
  })

  it('still waits for where it was last known to be', async () => {
    await start()
    const next = await freePort()
    await sendInVain('ann')
    await modify('ann', { mailHost: hopTo(next), mailRoutingAddress: 'a.nn@next.test' })
    await tryAgain()
    await tryAgain()
    await gateway.slapd.kill()
    await tryAgain()
    const sink = await startSink({ port: next })
    try {
      await isEmpty()
      assert.deepEqual(
        (await sink.taken(1)).flatMap(({ rcpt_to }) => rcpt_to),
        ['a.nn@next.test'],
      )
    } finally {
      await sink.stop()
    }
  })

  it('bounces with the name as it was sent, after it has moved', async () => {
    const refusing = await startSink({ args: ['-f', 'RCPT', '-B', '550 5.1.1 nobody here'] })
    try {
      await start()
      await sendInVain('ann')
      const seen = new Set(seenBy(senders))
      await modify('ann', { mailHost: hopTo(refusing.port), mailRoutingAddress: 'a.nn@next.test' })
      const fresh = () => senders.messages().filter(({ file }) => !seen.has(file))
      await until(() => fresh().length > 0)
      const body = fresh()[0]?.body ?? ''
      assert.match(body, /Final-Recipient: rfc822;ann@corp\.test\n/)
      assert.doesNotMatch(body, /a\.nn@/)
    } finally {
      await refusing.stop()
    }
  })

  it('has in its file what it needs for that, and no more', async () => {
    await start({ outbound: false, routes: ['corp.test = inbound', 'cloud.test = always-relay'] })
    await gateway.slapd.add({ mail: 'sky@corp.test', mailRoutingAddress: 'x@cloud.test' })
    await gateway.slapd.add({
      mail: 'moon@corp.test',
      mailHost: 'new',
      mailRoutingAddress: 'm@moon.test',
    })
    const { data } = await gateway.send(['Ann+x@corp.test', 'moon@corp.test', 'sky@corp.test'])
    assert.equal(data?.code, 250)
    const notes = gateway.haraka
      .outboundMessages()
      .map(({ domain, notes }) => [domain, notes.gal_relay])
    const smtputf8 = false
    assert.deepEqual(Object.fromEntries(notes), {
      'corp.test': {
        routes: [['corp.test', { hops: [{ url: hopTo(down) }] }]],
        written: [],
        mailboxes: [{ leaving: 'Ann+x@corp.test', asked: 'Ann+x@corp.test', byHost: true }],
        smtputf8,
      },
      'moon.test': {
        routes: [['moon.test', { hops: [{ url: hopTo(other.port) }] }]],
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

  it('keeps no password in its file, and waits while nobody knows it any more', async () => {
    await start({ hosts: [`old = smtp://gal:hunter2@127.0.0.1:${down}`] })
    await sendInVain('ann')
    await gateway.slapd.kill()
    await gateway.set({ hosts: [] })
    await gateway.haraka.waitForLog(/with it the password for gal at smtp:\/\/127\.0\.0\.1/)
    const [file, ...others] = gateway.haraka.outboundMessages()
    assert.ok(file && others.length === 0)
    assert.doesNotMatch(JSON.stringify(file.todo), /hunter2/)
    assert.doesNotMatch(gateway.haraka.log(), /hunter2/)
  })

  it('for several names of a mailbox leaves once, and follows it', async () => {
    await start({
      entries: [
        {
          mail: 'ann@corp.test',
          proxyAddresses: ['SMTP:ann@corp.test', 'smtp:sales@corp.test'],
          mailRoutingAddress: 'a@old-cloud.test',
        },
      ],
    })
    await sendInVain('ann', 'sales')
    const arrived = await whatArrives(other, 1, async () => {
      await modify('ann', { mailRoutingAddress: 'a@new-cloud.test' })
      await isEmpty()
    })
    assert.deepEqual(arrived, ['a@new-cloud.test'])
  })

  it('goes one recipient at a time when the mailboxes have moved behind LMTP', async () => {
    const lmtp = await startSink({ lmtp: true })
    try {
      await start()
      await sendInVain('ann', 'bob')
      await modify('ann', { mailHost: `lmtp://127.0.0.1:${lmtp.port}` })
      await modify('bob', { mailHost: `lmtp://127.0.0.1:${lmtp.port}` })
      await isEmpty()
      const arrived = await lmtp.taken(2)
      assert.deepEqual(arrived.map(({ rcpt_to }) => rcpt_to).sort(), [
        ['ann@corp.test'],
        ['bob@corp.test'],
      ])
    } finally {
      await lmtp.stop()
    }
  })

  it('with mixed = defer comes in a transaction of its own', async () => {
    await start({ ini: () => '[routing]\nmixed = defer' })
    await gateway.slapd.add({ mail: 'near@corp.test', mailHost: 'here' })
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
  })
})
