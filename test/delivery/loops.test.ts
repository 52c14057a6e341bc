// Loops. A message that keeps coming back is refused with 554 5.4.6, by the stamps in our own Received
// lines; made-up ones do nothing, and nothing is to be learnt from ours. Two Harakas that point at each
// other end with a bounce, and so does a row that names ourselves by a name.
import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { loopStamp, MAX_PASSES, passes, stamped } from '../../plugins/gal-relay/delivery/loops'
import { type Gateway, startGateway } from '../support/gateway'
import { harakaStartFailure } from '../support/haraka'
import { freePort } from '../support/ports'
import { skipWithout } from '../support/programs'
import { type SmtpSink, startSink } from '../support/smtp-sink'
import { until } from '../support/until'

const RECEIVED =
  'from a.test (a.test [192.0.2.1])\r\n\tby mx.test (Haraka) with ESMTP id 1.1;\r\n\tnow'
const STAMP = /\(gal-relay ([\w-]{22})\)/

describe('a stamp', () => {
  it('is that of all processes with the same environment, and of no others', () => {
    const env = {}
    const stamp = loopStamp(env)
    assert.match(stamp, /^[\w-]{22}$/)
    assert.equal(loopStamp(env), stamp)
    assert.notEqual(loopStamp({}), stamp)
    const shared = { GAL_RELAY_LOOP_SECRET: 'the same on both servers' }
    assert.equal(loopStamp({ ...shared }), loopStamp({ ...shared }))
  })

  it('stands in a comment before the date, whatever stands before it', () => {
    const stamp = loopStamp({})
    assert.ok(stamped(RECEIVED, stamp).endsWith(`id 1.1\r\n\t(gal-relay ${stamp});\r\n\tnow`))
    const sly = RECEIVED.replace('id 1.1', 'id 1.1 envelope-from <"(gal-relay AAAA);"@a.test>')
    assert.ok(stamped(sly, stamp).endsWith(`@a.test>\r\n\t(gal-relay ${stamp});\r\n\tnow`))
  })

  it('is counted by lines; another server’s, one cut short or made up is not', () => {
    const stamp = loopStamp({})
    const ours = stamped(RECEIVED, stamp)
    const folded = ours.replace(' (gal-relay ', '\n (gal-relay\n\t')
    assert.equal(passes([RECEIVED, ours, folded, `${ours} ${stamp}`], stamp), 3)
    const made = ['', '(gal-relay )', '(gal-relay %%%);', `(gal-relay ${'A'.repeat(5000)});`]
    const others = stamped(RECEIVED, loopStamp({}))
    assert.equal(passes([RECEIVED, others, ours.slice(0, -20), ...made], stamp), 0)
  })
})

describe('a message that another plugin ends data_post for', () => {
  const SECRET = 'known to the test'
  it('ends when it keeps coming, all the same', async () => {
    const gateway = await startGateway({
      people: ['dora@plain.test'],
      routes: ['plain.test = inbound'],
      // The client may not relay.
      ini: '',
      plugins: ['ends-data-post', 'gal-relay', 'test-queue'],
      files: { 'plugins/ends-data-post.js': 'exports.hook_data_post = (next) => next(OK)\n' },
      env: { GAL_RELAY_LOOP_SECRET: SECRET },
    })
    try {
      const line = `Received: ${stamped(RECEIVED, loopStamp({ GAL_RELAY_LOOP_SECRET: SECRET }))}\r\n`
      const client = await gateway.client()
      const answer = async (count: number) => {
        const message = `${line.repeat(count)}Subject: again\r\n\r\nHello.\r\n`
        return (await client.transaction('a@sender.test', ['dora@plain.test'], message)).data?.line
      }
      // Haraka adds a line of its own.
      assert.match((await answer(MAX_PASSES - 1)) ?? '', /^250/)
      assert.match((await answer(MAX_PASSES)) ?? '', /^55\d 5\.4\.6 Mail loop/)
      await client.quit()
    } finally {
      await gateway.stop()
    }
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
        'away.test = forward smtp://127.0.0.1:1',
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

  /** As it came to the one who was sent that subject, to be sent on. */
  async function copy(recipient: string, subject: string): Promise<string> {
    const message = `Subject: ${subject}\r\n\r\nHello.\r\n`
    assert.match(await send(message, recipient, 'carl@in.test', 'x@for.test'), /^250/)
    return left(recipient, subject)
  }

  it('may come several times, as from a filter or a list, and no more when it keeps coming', async () => {
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

  it('is the same to all its recipients, and tells nothing of them', async () => {
    const seen = await copy('bob@in.test', 'blind copies')
    assert.match(await send(seen, 'dora@plain.test'), /^250/)
    const stamps = [
      seen,
      await left('x@for.test', 'blind copies'),
      await copy('bob@in.test', 'another'),
      gateway.delivered().at(-1)?.body.toString('latin1') ?? '',
    ].map((message) => STAMP.exec(message)?.[1])
    assert.deepEqual(stamps, Array(stamps.length).fill(stamps[0]))
    // carl and x@for.test had one too, dora and y@for.test had not.
    for (const guess of ['bob@in.test', 'carl@in.test', 'x@for.test', 'y@for.test']) {
      assert.match(await send(seen, guess), /^250/, guess)
    }
  })

  it('with another server’s stamps, or made-up ones, is taken', async () => {
    const lines = Array.from({ length: 90 }, () => stamped(RECEIVED, loopStamp({})))
    const message = lines.map((line) => `Received: ${line}\r\n`).join('')
    assert.match(await send(`${message}Subject: forged\r\n\r\nHello.\r\n`, 'bob@in.test'), /^250/)
  })

  it('that is made of such lines costs no more with them, however many recipients it has', async () => {
    const recipients = Array.from({ length: 5000 }, (_, index) => `r${index}@away.test`)
    // As many lines as Haraka reads; it counts Received lines only where an empty line ends them.
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

  it('brings nothing into the log that a terminal obeys', async () => {
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
})

describe('a cluster', { skip: skipWithout('smtp-sink') }, () => {
  it('knows in every worker the stamp of all', async () => {
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
      const [message] = await sink.taken(1)
      const received = message?.headers.find((line) => STAMP.test(line)) ?? ''
      const copied = (times: number) => `${received}\r\n`.repeat(times)
      for (let attempt = 0; attempt < 9; attempt++) {
        assert.equal(await send(`${copied(MAX_PASSES - 1)}Subject: again\r\n\r\nHello.\r\n`), 250)
        assert.equal(await send(`${copied(MAX_PASSES)}Subject: again\r\n\r\nHello.\r\n`), 554)
      }
    } finally {
      await gateway.stop()
      await sink.stop()
    }
  })
})

describe('two Harakas that point at each other', { skip: skipWithout('smtp-sink') }, () => {
  it('bounce the message', () => bounceAfter(2 * MAX_PASSES))
  it('do so sooner when they have the same secret', () => {
    return bounceAfter(MAX_PASSES, { GAL_RELAY_LOOP_SECRET: 'the same on both' })
  })

  async function bounceAfter(transfers: number, env: NodeJS.ProcessEnv = {}): Promise<void> {
    const senders = await startSink()
    const [portA, portB] = [await freePort(), await freePort()]
    const start = (port: number, other: number) =>
      startGateway({
        ports: [port],
        env,
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
      // Those between the two that were taken, the first one having come from the client; and the bounce.
      await until(() => hops() >= transfers, 'all are in the log')
      assert.equal(hops(), transfers)
    } finally {
      await a.stop()
      await b.stop()
      await senders.stop()
    }
  }
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
