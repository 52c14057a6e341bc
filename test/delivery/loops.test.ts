// Loops. What comes back for a recipient it was accepted for is refused with 554 5.4.6, by our own
// Received line; a made-up one does nothing. Two Harakas that point at each other end
// with a bounce, and so does a row that names ourselves by a name.
import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { Traces } from '../../plugins/gal-relay/delivery/loops'
import { type Gateway, startGateway, until } from '../support/gateway'
import { harakaStartFailure } from '../support/haraka'
import { freePort } from '../support/ports'
import { skipWithout } from '../support/programs'
import { type SmtpSink, startSink } from '../support/smtp-sink'

const RECEIVED =
  'from a.test (a.test [192.0.2.1])\r\n\tby mx.test (Haraka) with ESMTP id 1.1;\r\n\tnow'
const PASS = { listener: '10.0.0.5:25', sender: 'a@sender.test' }

describe('a trace', () => {
  const traces = new Traces({})
  const many = Array.from({ length: 16 }, (_, index) => `r${index}@a.test`)
  const received = (...addresses: string[]) => traces.into(RECEIVED, PASS, addresses)

  it('knows the recipients it was made for, in any case, and no other', () => {
    const line = received('Bob@A.test', 'carl@a.test')
    assert.equal(traces.cameFor([line], PASS, ['x@a.test', 'bob@a.test']), 'bob@a.test')
    assert.equal(
      traces.cameFor([RECEIVED, received(...many), line], PASS, ['CARL@A.TEST']),
      'CARL@A.TEST',
    )
    assert.equal(traces.cameFor([line], PASS, ['x@a.test', 'bob@b.test']), undefined)
  })

  it('is for one listener and one sender', () => {
    const line = received('bob@a.test')
    for (const other of [{ listener: '10.0.0.5:10025' }, { sender: 'list-bounces@lists.test' }]) {
      assert.equal(traces.cameFor([line], { ...PASS, ...other }, ['bob@a.test']), undefined)
    }
  })

  it('stands in a comment before the date, whatever stands before it', () => {
    const whole = /id 1\.1\r\n\t\(gal-relay [\w-]{72}\r\n\t[\w-]{1,72}\);\r\n\tnow$/
    assert.match(received('bob@a.test'), whole)
    const sly = RECEIVED.replace('mx.test', 'mx.test (gal-relay AAAA);')
    assert.equal(
      traces.cameFor([traces.into(sly, PASS, ['bob@a.test'])], PASS, ['bob@a.test']),
      'bob@a.test',
    )
  })

  it('does not tell how many recipients there are, nor the same twice', () => {
    assert.equal(received('bob@a.test').length, received(...many).length)
    assert.notEqual(received('bob@a.test'), received('bob@a.test'))
  })

  it('of another Haraka, cut short or made up is none', () => {
    const others = new Traces({}).into(RECEIVED, PASS, ['bob@a.test'])
    const made = ['', '(gal-relay )', '(gal-relay %%%);', `(gal-relay ${'A'.repeat(5000)});`]
    for (const line of [others, received('bob@a.test').slice(0, 120), ...made]) {
      assert.equal(traces.cameFor([line], PASS, ['bob@a.test']), undefined)
    }
  })

  it('may be as long as a message: it is read once, however many recipients there are', () => {
    const made = `${RECEIVED.slice(0, -6)} (gal-relay ${'A'.repeat(10_000_000)});\r\n\tnow`
    const addresses = Array.from({ length: 500 }, (_, index) => `r${index}@a.test`)
    const begun = performance.now()
    assert.equal(traces.cameFor([made], PASS, addresses), undefined)
    // One look for each recipient takes more than a minute.
    assert.ok(performance.now() - begun < 20_000)
  })

  it('is read by every process that has the environment', () => {
    const env = {}
    const line = new Traces(env).into(RECEIVED, PASS, ['bob@a.test'])
    assert.equal(new Traces(env).cameFor([line], PASS, ['bob@a.test']), 'bob@a.test')
  })
})

describe('a message', { skip: skipWithout('smtp-sink') }, () => {
  let sink: SmtpSink
  let gateway: Gateway

  before(async () => {
    sink = await startSink()
    gateway = await startGateway({
      people: ['bob@in.test', 'carl@in.test', 'dora@plain.test'],
      routes: [
        `in.test = inbound smtp://127.0.0.1:${sink.port}`,
        `for.test = forward smtp://127.0.0.1:${sink.port}`,
        'old.test = reroute in.test',
        'plain.test = inbound',
      ],
    })
  })
  after(async () => {
    await gateway?.stop()
    await sink?.stop()
  })

  async function send(message: string, ...to: string[]): Promise<string> {
    const client = await gateway.client()
    const { data } = await client.transaction('a@sender.test', to, message)
    await client.quit()
    return data?.line ?? 'refused'
  }

  /** The copy with that subject as it left for that recipient. */
  async function left(recipient: string, subject = 'once'): Promise<string> {
    const found = () =>
      sink.messages().find(({ rcpt_to, headers }) => {
        return rcpt_to.includes(recipient) && headers.includes(`Subject: ${subject}`)
      })
    await until(
      () => found() !== undefined,
      () => gateway.log().slice(-2000),
    )
    const message = found()
    return [...(message?.headers ?? []), '', message?.body ?? '']
      .join('\n')
      .replace(/\r?\n/g, '\r\n')
  }

  it('that comes back for the same recipient is refused, for another one it is taken', async () => {
    const first = await send('Subject: once\r\n\r\nHello.\r\n', 'bob@in.test', 'x@for.test')
    assert.match(first, /^250/)
    const message = await left('bob@in.test')
    assert.match(message, /^Received: .*\(gal-relay [\w -]+\);/m)
    const refused = /^554 5\.4\.6 /
    assert.match(await send(message, 'bob@in.test'), refused)
    assert.match(await send(message, 'BOB@old.test'), refused)
    assert.match(await send(await left('x@for.test'), 'x@for.test'), refused)
    assert.match(await send(message, 'carl@in.test', 'bob@in.test'), refused)
    assert.match(await send(message, 'dora@plain.test', 'bob@in.test'), refused)
    assert.match(await send(message, 'carl@in.test', 'dora@plain.test'), /^250/)
    await left('carl@in.test')
    assert.equal(sink.messages().length, 3)
    const [delivered, ...others] = gateway.delivered()
    assert.deepEqual(delivered?.rcpt_to, ['dora@plain.test'])
    assert.equal(others.length, 0)
    const body = delivered?.body.toString('latin1') ?? ''
    assert.match(await send(body, 'dora@plain.test'), refused, 'back from a queue plugin’s host')
  })

  it('that a list sends on to who has a copy of his own already is taken', async () => {
    const to = ['carl@in.test', 'dora@plain.test', 'list@for.test']
    assert.match(await send('Subject: both\r\n\r\nHello.\r\n', ...to), /^250/)
    // Other domains' recipients, though the sender has stayed the same.
    const listCopy = await left('list@for.test', 'both')
    assert.match(await send(listCopy, 'carl@in.test', 'dora@plain.test'), /^250/)
    // Our own copy, in the name of the list.
    const again = await left('carl@in.test', 'both')
    assert.match(await send(again, 'carl@in.test'), /^554/)
    const client = await gateway.client()
    const { data } = await client.transaction('list-bounces@for.test', ['carl@in.test'], again)
    await client.quit()
    assert.equal(data?.code, 250)
  })

  it('with a trace that somebody made up is taken', async () => {
    const pass = { ...PASS, listener: `127.0.0.1:${gateway.port}` }
    const received = new Traces({}).into(RECEIVED, pass, ['bob@in.test'])
    const message = `Received: ${received}\r\nSubject: forged\r\n\r\nHello.\r\n`
    assert.match(await send(message, 'bob@in.test'), /^250/)
  })
})

describe('a cluster', { skip: skipWithout('smtp-sink') }, () => {
  it('knows in every worker what any of them has accepted', async () => {
    const sink = await startSink()
    const gateway = await startGateway({
      nodes: 3,
      people: ['bob@in.test'],
      routes: [`in.test = inbound smtp://127.0.0.1:${sink.port}`],
    })
    try {
      const send = async (message: string) => {
        const client = await gateway.client()
        const { data } = await client.transaction('a@sender.test', ['bob@in.test'], message)
        await client.quit()
        return data?.code
      }
      assert.equal(await send('Subject: once\r\n\r\nHello.\r\n'), 250)
      await until(
        () => sink.messages().length === 1,
        () => gateway.log().slice(-2000),
      )
      const [message] = sink.messages()
      const again = [...(message?.headers ?? []), '', message?.body].join('\n')
      for (let attempt = 0; attempt < 9; attempt++) {
        assert.equal(await send(again.replaceAll('\n', '\r\n')), 554)
      }
    } finally {
      await gateway.stop()
      await sink.stop()
    }
  })
})

describe('two Harakas that point at each other', { skip: skipWithout('smtp-sink') }, () => {
  it('bounce the message', async () => {
    const senders = await startSink()
    const [portA, portB] = [await freePort(), await freePort()]
    const start = (port: number, other: number) =>
      startGateway({
        ports: [port],
        routes: [
          `loop.test = forward smtp://127.0.0.1:${other}`,
          `sender.test = forward smtp://127.0.0.1:${senders.port}`,
        ],
      })
    const [a, b] = [await start(portA, portB), await start(portB, portA)]
    try {
      const client = await a.client()
      const { data } = await client.transaction(
        's@sender.test',
        ['bob@loop.test', 'carl@loop.test'],
        'Subject: loop\r\n\r\nHello.\r\n',
      )
      assert.equal(data?.code, 250)
      await client.quit()
      await until(
        () => senders.messages().length > 0,
        () => `${a.log()}\n${b.log()}`.slice(-4000),
      )
      await until(
        () => a.queueFiles().length + b.queueFiles().length === 0,
        'both queues are empty',
      )
      const [bounce, ...more] = senders.messages()
      assert.equal(more.length, 0)
      assert.match(bounce?.body ?? '', /Final-Recipient: rfc822;bob@loop\.test/)
      assert.match(bounce?.body ?? '', /Final-Recipient: rfc822;carl@loop\.test/)
      assert.match(bounce?.body ?? '', /5\.4\.6/)
      const hops = () =>
        [a, b].reduce((sum, one) => sum + one.logLines(/delivered file=/).length, 0)
      await until(() => hops() >= 2, 'both are in the log')
      assert.equal(hops(), 2, 'there, back (refused), and the bounce')
    } finally {
      await a.stop()
      await b.stop()
      await senders.stop()
    }
  })
})

describe('a next hop that is ourselves', () => {
  const failure = async (hop: string, listen: string, port: number) =>
    harakaStartFailure({
      ports: [port],
      proxy: false,
      ini: `[routes]\nin.test = inbound ${hop}\n[ldap]\nurl[] = ldap://127.0.0.1\nbase = dc=a\n`,
      files: { 'config/smtp.ini': `listen=${listen}\nnodes=0\n` },
    })

  it('is a configuration error that names the listener', async () => {
    const port = await freePort()
    for (const [hop, listen, shown] of [
      [`smtp://127.0.0.1:${port}`, `127.0.0.1:${port}`, `127\\.0\\.0\\.1:${port}`],
      [`smtp://localhost:${port}`, `127.0.0.1:${port}`, `127\\.0\\.0\\.1:${port}`],
      [`smtp://mx.test:${port}`, `0.0.0.0:${port}`, `0\\.0\\.0\\.0:${port}`],
      [`lmtp://[::1]:${port}`, `[::0]:${port}`, `\\[::\\]:${port}`],
      [`smtp://[::ffff:127.0.0.1]:${port}`, `127.0.0.1:${port}`, `127\\.0\\.0\\.1:${port}`],
    ] as const) {
      const text = await failure(hop, listen, port)
      assert.match(
        text,
        new RegExp(
          `gal_relay\\.ini line 2: \\[routes\\] in\\.test = .*this Haraka itself.*${shown}`,
        ),
      )
    }
  })
})
