// Loops. A message that keeps coming back is refused with 554 5.4.6, because of the stamps in our own
// Received lines. Forged stamps have no effect, and ours reveal nothing. Between two Harakas that point at
// each other the message ends with a bounce. A row whose next hop is this Haraka is an error.
import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { loopStamp, MAX_PASSES, passes, stamped } from '../../plugins/gal-relay/delivery/loops'
import { type Gateway, startGateway } from '../support/gateway'
import { harakaStartFailure, type OutboundMessage } from '../support/haraka'
import { freePort, freePorts } from '../support/ports'
import { skipWithout } from '../support/programs'
import { connectSmtp } from '../support/smtp'
import { type SmtpSink, startSink } from '../support/smtp-sink'
import { until } from '../support/until'

const RECEIVED =
  'from a.test (a.test [192.0.2.1])\r\n\tby mx.test (Haraka) with ESMTP id 1.1;\r\n\tnow'
const STAMP = /\(gal-relay ([\w-]{22})\)/

/** Ends data_post for messages from ended.test. */
const ENDS_DATA_POST = `exports.hook_data_post = (next, { transaction }) =>
  transaction.mail_from.host === 'ended.test' ? next(OK) : next()
`

describe('a stamp', () => {
  it('is the same in all processes with the same environment, and in no others', () => {
    const env = {}
    const stamp = loopStamp(env)
    assert.match(stamp, /^[\w-]{22}$/)
    assert.equal(loopStamp(env), stamp)
    assert.notEqual(loopStamp({}), stamp)
    const shared = { GAL_RELAY_LOOP_SECRET: 'the same on both servers' }
    assert.equal(loopStamp({ ...shared }), loopStamp({ ...shared }))
  })

  it('is in a comment before the date, whatever precedes it', () => {
    const stamp = loopStamp({})
    assert.ok(stamped(RECEIVED, stamp).endsWith(`id 1.1\r\n\t(gal-relay ${stamp});\r\n\tnow`))
    const sly = RECEIVED.replace('id 1.1', 'id 1.1 envelope-from <"(gal-relay AAAA);"@a.test>')
    assert.ok(stamped(sly, stamp).endsWith(`@a.test>\r\n\t(gal-relay ${stamp});\r\n\tnow`))
  })

  it('is counted once a line; stamps of other servers, truncated and forged ones are not counted', () => {
    const stamp = loopStamp({})
    const ours = stamped(RECEIVED, stamp)
    const folded = ours.replace(' (gal-relay ', '\n (gal-relay\n\t')
    assert.equal(passes([RECEIVED, ours, folded, `${ours} ${stamp}`], stamp), 3)
    const made = ['', '(gal-relay )', '(gal-relay %%%);', `(gal-relay ${'A'.repeat(5000)});`]
    const others = stamped(RECEIVED, loopStamp({}))
    assert.equal(passes([RECEIVED, others, ours.slice(0, -20), ...made], stamp), 0)
  })
})

describe('a message', { skip: skipWithout('smtp-sink') }, () => {
  const SECRET = { GAL_RELAY_LOOP_SECRET: 'the same on both servers' }
  let sink: SmtpSink
  /** Trusts 127.0.0.1 at its first listener, and nobody at its second one. */
  let gateway: Gateway
  /** It has another secret, and three workers. */
  let cluster: Gateway
  let sameSecret: Gateway

  before(async () => {
    sink = await startSink()
    const [trusting = 0, open = 0, otherPort = 0, samePort = 0] = await freePorts(4)
    const pointsTo = (domain: string, port: number) => [
      `${domain} = forward smtp://127.0.0.1:${port}`,
      `sender.${domain} = forward smtp://127.0.0.1:${sink.port}`,
    ]
    const all = [
      startGateway({
        ports: [trusting, open],
        env: SECRET,
        people: ['bob@in.test', 'carl@in.test', 'dora@plain.test'],
        routes: [
          `in.test = inbound smtp://127.0.0.1:${sink.port}`,
          `for.test = forward smtp://127.0.0.1:${sink.port}`,
          'old.test = reroute in.test',
          'plain.test = inbound',
          'away.test = forward smtp://127.0.0.1:1',
          ...pointsTo('loop.test', otherPort),
          ...pointsTo('short-loop.test', samePort),
        ],
        ini: `[listener *:${trusting}]\nhosts[] = 127.0.0.1\n`,
        plugins: ['test-retry', 'ends-data-post', 'gal-relay', 'test-queue'],
        files: { 'plugins/ends-data-post.js': ENDS_DATA_POST },
      }),
      startGateway({
        ports: [otherPort],
        nodes: 3,
        people: ['bob@in.test'],
        routes: [
          `in.test = inbound smtp://127.0.0.1:${sink.port}`,
          ...pointsTo('loop.test', trusting),
        ],
      }),
      startGateway({
        ports: [samePort],
        env: SECRET,
        routes: pointsTo('short-loop.test', trusting),
      }),
    ] as const
    ;[gateway, cluster, sameSecret] = await Promise.all(all)
  })
  after(async () => {
    await gateway?.stop()
    await cluster?.stop()
    await sameSecret?.stop()
    await sink?.stop()
  })

  async function send(message: string, ...to: string[]): Promise<string> {
    const client = await gateway.client()
    const { data } = await client.transaction('a@sender.test', to, message)
    await client.quit()
    return data?.line ?? 'refused'
  }

  /** The message with that subject, as it left for that recipient. */
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

  /** The copy of a message with that subject, as that recipient got it. */
  async function copy(recipient: string, subject: string): Promise<string> {
    const message = `Subject: ${subject}\r\n\r\nHello.\r\n`
    assert.match(await send(message, recipient, 'carl@in.test', 'x@for.test'), /^250/)
    return left(recipient, subject)
  }

  it('may come several times, as from a filter or a list, and is refused if it keeps coming', async () => {
    let message = 'Subject: pass 0\r\n\r\nHello.\r\n'
    for (let pass = 1; pass <= MAX_PASSES; pass++) {
      message = message.replace(/Subject: pass \d+/, `Subject: pass ${pass}`)
      assert.match(await send(message, 'bob@in.test', 'carl@in.test'), /^250/, `pass ${pass}`)
      message = await left('bob@in.test', `pass ${pass}`)
      assert.equal(message.match(new RegExp(STAMP, 'g'))?.length, pass)
    }
    const refused = /^554 5\.4\.6 Mail loop/
    const all = ['bob@in.test', 'BOB@old.test', 'x@for.test', 'dora@plain.test']
    for (const recipient of all) assert.match(await send(message, recipient), refused)
    const before = sink.messages().length
    assert.match(await send(message, 'carl@in.test', 'dora@plain.test'), refused)
    assert.equal(sink.messages().length, before)
    assert.deepEqual(gateway.delivered(), [])
    await gateway.waitForLog(
      /\[gal-relay\] mail loop sender=<a@sender\.test> recipient=<bob@in\.test> recipients=1 passes=9$/,
    )
  })

  it('has the same stamp for all recipients, and reveals nothing about them', async () => {
    const seen = await copy('bob@in.test', 'blind copies')
    assert.match(await send(seen, 'dora@plain.test'), /^250/)
    const stamps = [
      seen,
      await left('x@for.test', 'blind copies'),
      await copy('bob@in.test', 'another'),
      gateway.delivered().at(-1)?.body.toString('latin1') ?? '',
    ].map((message) => STAMP.exec(message)?.[1])
    assert.deepEqual(stamps, Array(stamps.length).fill(stamps[0]))
    // carl and x@for.test got a copy too, dora and y@for.test did not.
    for (const guess of ['bob@in.test', 'carl@in.test', 'x@for.test', 'y@for.test']) {
      assert.match(await send(seen, guess), /^250/, guess)
    }
  })

  it('is accepted with the stamps of another server, or forged ones', async () => {
    const lines = Array.from({ length: 90 }, () => stamped(RECEIVED, loopStamp({})))
    const message = lines.map((line) => `Received: ${line}\r\n`).join('')
    assert.match(await send(`${message}Subject: forged\r\n\r\nHello.\r\n`, 'bob@in.test'), /^250/)
  })

  it('costs no more with such lines than with others, however many recipients it has', async () => {
    const recipients = Array.from({ length: 5000 }, (_, index) => `r${index}@away.test`)
    // As many lines as Haraka reads. It counts Received lines only if an empty line ends the header.
    async function takes(line: string): Promise<number> {
      const client = await gateway.client()
      await client.mail('a@sender.test')
      client.write(recipients.map((recipient) => `RCPT TO:<${recipient}>\r\n`).join(''))
      for (const _ of recipients) assert.equal((await client.reply()).code, 250)
      const begun = performance.now()
      const { code } = await client.data(line.repeat(990))
      const took = performance.now() - begun
      assert.equal(code, 250)
      await client.quit()
      return took
    }
    const plain = await takes(`Received: x (${'A'.repeat(36)}); now\r\n`)
    const made = await takes(`Received: x (gal-relay ${'A'.repeat(26)}); now\r\n`)
    assert.ok(made < 4 * plain + 1000, `${made} ms, ${plain} ms without`)
  })

  it('puts nothing into the log that a terminal would execute', async () => {
    const line = `Received: ${STAMP.exec(await copy('bob@in.test', 'seen'))?.[0]}; now\r\n`
    const message = `${line.repeat(MAX_PASSES)}Subject: x\r\n\r\nHello.\r\n`
    const client = await gateway.client()
    const from = gateway.log().length
    await client.mail('a\u202e\u0085b@sender.test', 'SMTPUTF8')
    await client.rcpt('c\u202e\u009b31md@for.test')
    assert.equal((await client.data(message)).code, 554)
    await client.quit()
    const logged = await gateway.waitForLog(/mail loop/, undefined, from)
    assert.match(logged, / sender=<a<U\+202E><U\+0085>b@sender\.test> /)
    assert.match(logged, / recipient=<c<U\+202E><U\+009B>31md@for\.test> /)
    assert.doesNotMatch(logged, /\p{C}/u)
  })

  it('is refused if it keeps coming, even if another plugin ends data_post for it', async () => {
    const line = `Received: ${stamped(RECEIVED, loopStamp({ ...SECRET }))}\r\n`
    const client = await connectSmtp({ port: gateway.ports[1] ?? 0 })
    await client.ehlo()
    const answer = async (count: number) => {
      const message = `${line.repeat(count)}Subject: again\r\n\r\nHello.\r\n`
      return (await client.transaction('a@ended.test', ['dora@plain.test'], message)).data?.line
    }
    // Haraka adds a line of its own.
    assert.match((await answer(MAX_PASSES - 1)) ?? '', /^250/)
    assert.match((await answer(MAX_PASSES)) ?? '', /^55\d 5\.4\.6 Mail loop/)
    await client.quit()
  })

  it('carries a stamp that every worker of a cluster knows', async () => {
    const send = async (message: string) => {
      const client = await cluster.client()
      const { data } = await client.transaction('a@sender.test', ['bob@in.test'], message)
      await client.quit()
      return data?.code
    }
    assert.equal(await send('Subject: by a worker\r\n\r\nHello.\r\n'), 250)
    const message = await left('bob@in.test', 'by a worker')
    const received = message.split('\r\n').find((line) => STAMP.test(line)) ?? ''
    assert.match(received, /^Received: /)
    const copied = (times: number) => `${received}\r\n`.repeat(times)
    for (let attempt = 0; attempt < 9; attempt++) {
      assert.equal(await send(`${copied(MAX_PASSES - 1)}Subject: again\r\n\r\nHello.\r\n`), 250)
      assert.equal(await send(`${copied(MAX_PASSES)}Subject: again\r\n\r\nHello.\r\n`), 554)
    }
  })

  describe('that two Harakas send to each other', () => {
    it('bounces', () => bouncesAfter(2 * MAX_PASSES, 'loop.test', cluster))
    it('bounces sooner when they have the same secret', () =>
      bouncesAfter(MAX_PASSES, 'short-loop.test', sameSecret))

    async function bouncesAfter(transfers: number, domain: string, other: Gateway): Promise<void> {
      const sender = `s@sender.${domain}`
      const from = [gateway, other].map((one) => one.log().length)
      const client = await gateway.client()
      const { data } = await client.transaction(
        sender,
        [`bob@${domain}`, `carl@${domain}`],
        'Subject: loop\r\n\r\nHello.\r\n',
      )
      assert.equal(data?.code, 250)
      await client.quit()
      const bounces = () => sink.messages().filter(({ rcpt_to }) => rcpt_to.includes(sender))
      await until(
        () => bounces().length > 0,
        () => `${gateway.log()}\n${other.log()}`.slice(-4000),
      )
      const waiting = () => [gateway, other].flatMap((one) => one.outboundMessages())
      const isOfThis = (one: OutboundMessage) => [domain, `sender.${domain}`].includes(one.domain)
      await until(() => !waiting().some(isOfThis), 'neither queue has any of it')
      const [bounce, ...more] = bounces()
      assert.equal(more.length, 0)
      assert.match(bounce?.body ?? '', new RegExp(`Final-Recipient: rfc822;bob@${domain}`))
      assert.match(bounce?.body ?? '', new RegExp(`Final-Recipient: rfc822;carl@${domain}`))
      assert.match(bounce?.body ?? '', /5\.4\.6/)
      const delivered = new RegExp(`delivered file=\\S+ domain="?(sender\\.)?${domain}`, 'g')
      const hops = () =>
        [gateway, other].flatMap((one, i) => one.log().slice(from[i]).match(delivered) ?? []).length
      // All transfers that were accepted but the one by the client, and the bounce.
      await until(() => hops() >= transfers, 'all are in the log')
      assert.equal(hops(), transfers)
    }
  })
})

describe('a next hop that is ourselves', () => {
  it('is a configuration error that names the listener', async () => {
    const ports = [await freePort(), await freePort(), await freePort()]
    const [own, all, all6] = ports
    const cases = [
      [`smtp://127.0.0.1:${own}`, `127\\.0\\.0\\.1:${own}`],
      [`smtp://localhost:${own}`, `127\\.0\\.0\\.1:${own}`],
      [`smtp://mx.test:${all}`, `0\\.0\\.0\\.0:${all}`],
      [`lmtp://[::1]:${all6}`, `\\[::\\]:${all6}`],
      [`smtp://[::ffff:127.0.0.1]:${own}`, `127\\.0\\.0\\.1:${own}`],
    ] as const
    const rows = cases.map(([hop], index) => `in${index}.test = inbound ${hop}\n`).join('')
    const listen = `127.0.0.1:${own},0.0.0.0:${all},[::0]:${all6}`
    const text = await harakaStartFailure({
      ports,
      proxy: false,
      ini: `[routes]\n${rows}[ldap]\nurl[] = ldap://127.0.0.1\nbase = dc=a\n`,
      files: { 'config/smtp.ini': `listen=${listen}\nnodes=0\n` },
    })
    for (const [index, [, shown]] of cases.entries()) {
      assert.match(
        text,
        new RegExp(
          `gal_relay\\.ini line ${index + 2}: \\[routes\\] in${index}\\.test = .*this Haraka itself.*${shown}`,
        ),
      )
    }
  })
})
