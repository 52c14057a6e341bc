// Whole messages through a real Haraka: each recipient's copy arrives exactly once and byte for byte, and a
// message that cannot be taken gets a reply that makes the sender keep it.
import assert from 'node:assert/strict'
import { readFileSync, renameSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { after, afterEach, before, describe, test } from 'node:test'
import { type EmbeddedLdap, startEmbeddedLdap } from './support/embedded-ldap'
import { type Haraka, type HarakaOptions, startHaraka } from './support/haraka'
import { connectSmtp, type Reply, type SmtpClient, type TransactionReplies } from './support/smtp'

const MESSAGE = Buffer.concat([
  Buffer.from(
    'From: <a@b.example>\r\nMessage-Id: <1@b.example>\r\nDate: Mon, 23 Nov 2026 10:00:00 +0000\r\n',
  ),
  Buffer.from('Subject: =?utf-8?q?B=C3=BCro?=\r\nX-Folded: one\r\n\ttwo  \r\n\r\n'),
  Buffer.from(
    '.a dot, \t trailing space \r\n..\r\n.\tdot\r\n\r\n\r\n8 bits: \xe4\xf6\xfc\xff\x80\r\n',
    'latin1',
  ),
  Buffer.from(`${'x'.repeat(990)}\r\nFrom the end\r\n--boundary--\r\n`),
])

const SETTINGS = `[routes]
example.com = inbound
partner.example = always-relay
[restrictions]
hosts[] = 192.168.1.0/24
[listener *:26]
mixed = defer
`
const TRUSTED = '192.168.1.7'
const STRANGER = '203.0.113.9'

let directory: EmbeddedLdap
/** The server of all tests that need no other plugins. */
let haraka: Haraka
let post: Post
before(async () => {
  directory = await startEmbeddedLdap(['alice@example.com', 'bob@example.com'])
  haraka = await start({
    plugins: ['gal-relay', 'test-queue', 'seen'],
    files: { 'plugins/seen.js': SEEN },
  })
  post = new Post(haraka)
})
after(async () => {
  await haraka?.stop()
  await directory?.stop()
})

function start(options: HarakaOptions = {}): Promise<Haraka> {
  const ldap = `[ldap]\nurl[] = ${directory.url}\nbase = ${directory.base}\n`
  return startHaraka({ ini: SETTINGS + ldap, ...options })
}

async function connect(haraka: Haraka, client: string, port = 25): Promise<SmtpClient> {
  const smtp = await connectSmtp({
    port: haraka.port,
    proxy: { client, local: `10.0.0.5:${port}` },
  })
  await smtp.ehlo()
  return smtp
}

/** One whole transaction on a connection of its own. */
async function send(
  haraka: Haraka,
  client: string,
  to: readonly string[],
  {
    from = 'a@b.example',
    port = 25,
    message = MESSAGE,
  }: { from?: string; port?: number; message?: Buffer } = {},
): Promise<TransactionReplies> {
  const smtp = await connect(haraka, client, port)
  try {
    return await smtp.transaction(from, to, message)
  } finally {
    await smtp.quit()
  }
}

const codes = (replies: readonly Reply[]) => replies.map(({ code }) => code)

/** What has arrived since the last look: the queue plugin's envelopes, then those of the outbound queue. */
class Post {
  #delivered = 0
  readonly #outbound = new Set<string>()
  constructor(readonly haraka: Haraka) {}

  get fresh() {
    const delivered = this.haraka.delivered().slice(this.#delivered)
    this.#delivered += delivered.length
    const outbound = this.haraka.outboundMessages().filter(({ file }) => !this.#outbound.has(file))
    for (const { file } of outbound) this.#outbound.add(file)
    return { delivered, outbound }
  }

  get recipients() {
    const { delivered, outbound } = this.fresh
    return {
      queue: delivered.map(({ rcpt_to }) => rcpt_to),
      outbound: outbound.map(({ rcpt_to }) => rcpt_to).sort(),
    }
  }
}

/** Asserts that it is the message as it was sent, after nothing but the lines that Haraka adds. */
function assertSameBytes(body: Buffer, added: RegExp): void {
  assert.deepEqual(body.subarray(-MESSAGE.length), MESSAGE)
  assert.match(body.subarray(0, -MESSAGE.length).toString('latin1'), added)
}

const RECEIVED = /^Received: from client\.test \([^)]*\)\r\n(\t.*\r\n)+$/
const RECEIVED_OUTBOUND =
  /^Received: \(Haraka outbound\); .*\r\nReceived: from client\.test \([^)]*\)\r\n(\t.*\r\n)+$/

describe('a message', () => {
  afterEach(() => haraka.queueAnswers('OK'))

  for (const client of [STRANGER, TRUSTED]) {
    test(`for inbound recipients, from ${client}, reaches the queue plugin byte for byte`, async () => {
      const from = client === TRUSTED ? '' : 'Sender@Sub.B.Example'
      const { rcpt, data } = await send(haraka, client, ['Alice@EXAMPLE.com', 'bob@example.com'], {
        from,
      })
      assert.deepEqual([...codes(rcpt), data?.code], [250, 250, 250])
      const { delivered, outbound } = post.fresh
      assert.equal(outbound.length, 0)
      assert.equal(delivered.length, 1)
      const [message] = delivered
      assert.ok(message)
      assert.equal(message.mail_from, from)
      assert.deepEqual(message.rcpt_to, ['Alice@EXAMPLE.com', 'bob@example.com'])
      assert.deepEqual(message.relaying, { data_post: client === TRUSTED, queue: false })
      assertSameBytes(message.body, RECEIVED)
    })
  }

  test('for foreign recipients reaches the outbound queue byte for byte, a copy for each domain', async () => {
    const to = ['x@foreign.example', 'y@foreign.example', 'z@other.example']
    const { rcpt, data } = await send(haraka, TRUSTED, to)
    assert.deepEqual([...codes(rcpt), data?.code], [250, 250, 250, 250])
    const { delivered, outbound } = post.fresh
    assert.equal(delivered.length, 0)
    assert.deepEqual(
      outbound.map(({ domain, mail_from, rcpt_to }) => [domain, mail_from, ...rcpt_to]).sort(),
      [
        ['foreign.example', 'a@b.example', 'x@foreign.example', 'y@foreign.example'],
        ['other.example', 'a@b.example', 'z@other.example'],
      ],
    )
    for (const { body } of outbound) assertSameBytes(body, RECEIVED_OUTBOUND)
  })

  test('for both kinds arrives in both queues, once and only with the recipients of each', async () => {
    const to = ['alice@example.com', 'x@foreign.example', 'bob@example.com', 'y@partner.example']
    const { rcpt, data } = await send(haraka, TRUSTED, to)
    assert.deepEqual([...codes(rcpt), data?.code], [250, 250, 250, 250, 250])
    const { delivered, outbound } = post.fresh
    assert.deepEqual(
      delivered.map(({ rcpt_to }) => rcpt_to),
      [['alice@example.com', 'bob@example.com']],
    )
    assert.deepEqual(outbound.map(({ rcpt_to }) => rcpt_to).sort(), [
      ['x@foreign.example'],
      ['y@partner.example'],
    ])
    assert.equal(seen(haraka, 'queue').at(-1)?.rcpt_to, 'alice@example.com bob@example.com')
    assert.equal(seen(haraka, 'queue_ok').at(-1)?.rcpt_to, to.join(' '))
    for (const { body } of delivered) assertSameBytes(body, RECEIVED)
    for (const { body } of outbound) assertSameBytes(body, RECEIVED_OUTBOUND)
  })

  test('from a stranger for both kinds arrives in both queues too', async () => {
    const { rcpt, data } = await send(haraka, STRANGER, ['y@partner.example', 'alice@example.com'])
    assert.deepEqual([...codes(rcpt), data?.code], [250, 250, 250])
    assert.deepEqual(post.recipients, {
      queue: [['alice@example.com']],
      outbound: [['y@partner.example']],
    })
  })

  test('after another on one connection has only its own recipients', async () => {
    const smtp = await connect(haraka, TRUSTED)
    for (const to of [
      ['x@foreign.example', 'alice@example.com'],
      ['bob@example.com'],
      ['z@foreign.example'],
    ]) {
      assert.equal((await smtp.transaction('a@b.example', to, MESSAGE)).data?.code, 250)
    }
    await smtp.transaction('a@b.example', ['alice@example.com', 'x@foreign.example'])
    await smtp.rset()
    assert.equal(
      (await smtp.transaction('a@b.example', ['bob@example.com'], MESSAGE)).data?.code,
      250,
    )
    await smtp.quit()
    assert.deepEqual(post.recipients, {
      queue: [['alice@example.com'], ['bob@example.com'], ['bob@example.com']],
      outbound: [['x@foreign.example'], ['z@foreign.example']],
    })
  })

  test('with mixed = defer is taken for one kind, and the other is deferred', async () => {
    const inboundFirst = await send(
      haraka,
      TRUSTED,
      ['alice@example.com', 'x@foreign.example', 'bob@example.com'],
      { port: 26 },
    )
    assert.deepEqual([...codes(inboundFirst.rcpt), inboundFirst.data?.code], [250, 452, 250, 250])
    assert.equal(inboundFirst.rcpt[1]?.enhanced, '4.5.3')
    assert.deepEqual(post.recipients, {
      queue: [['alice@example.com', 'bob@example.com']],
      outbound: [],
    })

    const foreignFirst = await send(
      haraka,
      TRUSTED,
      ['x@foreign.example', 'alice@example.com', 'nobody@example.com'],
      { port: 26 },
    )
    assert.deepEqual([...codes(foreignFirst.rcpt), foreignFirst.data?.code], [250, 452, 550, 250])
    assert.deepEqual(post.recipients, { queue: [], outbound: [['x@foreign.example']] })
  })

  test('whose recipients are refused leaves nothing in any queue', async () => {
    const all = await send(haraka, STRANGER, [
      'x@foreign.example',
      'nobody@example.com',
      'alice%foreign.example@example.com',
    ])
    assert.deepEqual([codes(all.rcpt), all.data], [[550, 550, 550], undefined])
    const some = await send(haraka, STRANGER, [
      'x@foreign.example',
      'alice@example.com',
      'nobody@example.com',
    ])
    assert.deepEqual([...codes(some.rcpt), some.data?.code], [550, 250, 550, 250])
    assert.deepEqual(post.recipients, { queue: [['alice@example.com']], outbound: [] })
  })

  for (const [answer, code] of [
    ['DENYSOFT', 450],
    ['DENY', 550],
  ] as const) {
    test(`that the queue plugin answers with ${answer} is not stored anywhere, and the sender gets that answer`, async () => {
      haraka.queueAnswers(answer)
      for (const to of [['alice@example.com'], ['x@foreign.example', 'alice@example.com']]) {
        const { data } = await send(haraka, TRUSTED, to)
        assert.equal(data?.code, code)
        assert.match(data.text, /the test said so/)
      }
      assert.deepEqual(post.recipients, { queue: [], outbound: [] })

      const { data } = await send(haraka, TRUSTED, ['x@foreign.example'])
      assert.equal(data?.code, 250)
      assert.deepEqual(post.recipients, { queue: [], outbound: [['x@foreign.example']] })
    })
  }

  test('that no queue plugin takes is deferred as a whole', async () => {
    haraka.queueAnswers('CONT')
    const { data } = await send(haraka, TRUSTED, ['alice@example.com', 'x@foreign.example'])
    assert.equal(data?.code, 451)
    assert.deepEqual(post.recipients, { queue: [], outbound: [] })
  })

  test('shows other plugins whether the client is trusted, whatever its recipients', async () => {
    const cases = [
      { client: TRUSTED, to: 'alice@example.com', trusted: true },
      { client: TRUSTED, to: 'x@foreign.example', trusted: true },
      { client: TRUSTED, to: 'y@partner.example', trusted: true },
      { client: STRANGER, to: 'alice@example.com', trusted: false },
      { client: STRANGER, to: 'y@partner.example', trusted: false },
    ]
    for (const { client, to, trusted } of cases) {
      await send(haraka, client, [to])
      for (const hook of ['mail', 'rcpt_ok', 'data_post']) {
        const last = seen(haraka, hook).at(-1)
        assert.deepEqual(
          [last?.rcpt_to, last?.relaying],
          [hook === 'mail' ? '' : to, String(trusted)],
          `${client} ${to} ${hook}`,
        )
      }
    }
    post.fresh
  })
})

describe('an outbound queue that cannot be written', () => {
  before(async () => {
    // Some time after it listens, Haraka reads its queue, and it ends if it cannot.
    await haraka.waitForLog(/files in my temp fail queue/)
    post.fresh
  })

  /** Not even root can write below a file. */
  async function withoutQueue<T>(work: () => Promise<T>): Promise<T> {
    const queue = path.join(haraka.dir, 'queue')
    renameSync(queue, `${queue}-away`)
    writeFileSync(queue, '')
    try {
      return await work()
    } finally {
      renameSync(queue, `${queue}-file`)
      renameSync(`${queue}-away`, queue)
    }
  }

  test('gives the sender a 4xx, and its next attempt succeeds', async () => {
    const smtp = await connect(haraka, TRUSTED)
    const to = ['x@foreign.example', 'z@other.example']
    const failed = await withoutQueue(() => smtp.transaction('a@b.example', to, MESSAGE))
    assert.match(failed.data?.line ?? '', /^4\d\d /)
    assert.deepEqual(post.recipients, { queue: [], outbound: [] })
    assert.equal((await smtp.transaction('a@b.example', to, MESSAGE)).data?.code, 250)
    assert.deepEqual(post.recipients, {
      queue: [],
      outbound: [['x@foreign.example'], ['z@other.example']],
    })
    await smtp.quit()
  })

  test('gives no 250 either once the queue plugins have their part', async () => {
    const to = ['alice@example.com', 'x@foreign.example']
    const smtp = await connect(haraka, TRUSTED)
    const failed = await withoutQueue(() => smtp.transaction('a@b.example', to, MESSAGE))
    assert.equal(
      failed.data?.line,
      '451 4.3.0 The message could not be stored, please try again later',
    )
    await assert.rejects(smtp.reply(), /closed the connection/)
    assert.deepEqual(post.recipients, { queue: [['alice@example.com']], outbound: [] })
    assert.equal((await send(haraka, TRUSTED, to)).data?.code, 250)
    assert.deepEqual(post.recipients, {
      queue: [['alice@example.com']],
      outbound: [['x@foreign.example']],
    })
    assert.equal(haraka.logLines(/\[ERROR\].*the outbound queue could not be written/).length, 2)
  })

  test('does not affect inbound mail', async () => {
    const { data } = await withoutQueue(() => send(haraka, STRANGER, ['alice@example.com']))
    assert.equal(data?.code, 250)
    assert.deepEqual(post.recipients, { queue: [['alice@example.com']], outbound: [] })
  })
})

describe('an outbound queue that is slow', () => {
  const SLOW = `exports.hook_pre_send_trans_email = function (next, connection) {
  connection.lognotice(this, 'takes its time')
  setTimeout(next, 3000)
}`
  const slow = (files: Readonly<Record<string, string>>) =>
    start({
      plugins: ['gal-relay', 'test-queue', 'slow'],
      files: { 'plugins/slow.js': SLOW, ...files },
    })
  const foreign = ['x@foreign.example', 'z@other.example']

  const cases = [foreign, ['alice@example.com', ...foreign]]
  const queued = (to: readonly string[]) => (to.length > 2 ? [['alice@example.com']] : [])

  describe('longer than Haraka waits for a plugin', () => {
    let haraka: Haraka
    let post: Post
    before(async () => {
      haraka = await slow({ 'config/gal-relay.timeout': '1\n' })
      post = new Post(haraka)
    })
    after(() => haraka?.stop())

    for (const to of cases) {
      test(`gets the message, for ${to.join(', ')}`, async () => {
        const { data } = await send(haraka, TRUSTED, to)
        assert.equal(data?.code, 250, data?.line)
        assert.deepEqual(post.recipients, {
          queue: queued(to),
          outbound: foreign.map((one) => [one]),
        })
        assert.doesNotMatch(haraka.log(), /timed out/)
      })
    }
  })

  describe('longer than the client waits', () => {
    let haraka: Haraka
    let post: Post
    before(async () => {
      const file = path.join(path.dirname(require.resolve('haraka/package.json')), 'config')
      haraka = await slow({
        // The message is in a file, which Haraka closes when the client goes.
        'config/connection.ini': readFileSync(path.join(file, 'connection.ini'), 'utf8')
          .replace(/^hosts\[\] =$/m, 'hosts[] = 127.0.0.1')
          .replace(/^\[main\]$/m, '[main]\nspool_after = 0'),
      })
      post = new Post(haraka)
    })
    after(() => haraka?.stop())

    for (const to of cases) {
      test(`keeps nothing of the message, for ${to.join(', ')}`, async () => {
        post.fresh
        const from = haraka.log().length
        const smtp = await connect(haraka, TRUSTED)
        const sent = smtp.transaction('a@b.example', to, MESSAGE)
        await haraka.waitForLog(/takes its time/, undefined, from)
        smtp.close()
        await assert.rejects(sent)
        const gone = /could not be written: Error: the client has gone/
        await haraka.waitForLog(gone, undefined, from)
        assert.deepEqual(post.recipients, { queue: queued(to), outbound: [] })
        assert.equal((await send(haraka, TRUSTED, to)).data?.code, 250)
      })
    }
  })
})

describe('beside other plugins', () => {
  test('queue/lmtp adds no note to the part of a message that it does not deliver', async () => {
    const haraka = await start({ plugins: ['gal-relay', 'queue/lmtp'] })
    try {
      assert.equal(
        (await send(haraka, TRUSTED, ['x@foreign.example', 'alice@example.com'])).data?.code,
        250,
      )
      const messages = haraka
        .outboundMessages()
        .map(({ rcpt_to, notes }) => [rcpt_to.join(), notes.using_lmtp])
      assert.deepEqual(messages.sort(), [
        ['alice@example.com', true],
        ['x@foreign.example', undefined],
      ])
      for (const { body } of haraka.outboundMessages()) {
        assertSameBytes(body, /^(Received: .*\r\n(\t.*\r\n)*)+$/)
      }
    } finally {
      await haraka.stop()
    }
  })

  test('a data_post plugin that ends its hook puts no inbound recipient into the outbound queue', async () => {
    const haraka = await start({
      plugins: ['ends-data-post', 'gal-relay', 'test-queue'],
      files: { 'plugins/ends-data-post.js': 'exports.hook_data_post = (next) => next(OK)\n' },
    })
    const post = new Post(haraka)
    try {
      const deferred = await send(haraka, TRUSTED, ['alice@example.com', 'x@foreign.example'])
      assert.match(deferred.data?.line ?? '', /^4\d\d /)
      assert.deepEqual(post.recipients, { queue: [], outbound: [] })
      assert.equal(
        (await send(haraka, STRANGER, ['alice@example.com', 'y@partner.example'])).data?.code,
        250,
      )
      assert.equal((await send(haraka, STRANGER, ['y@partner.example'])).data?.code, 250)
      assert.deepEqual(post.recipients, {
        queue: [['alice@example.com']],
        outbound: [['y@partner.example'], ['y@partner.example']],
      })
    } finally {
      await haraka.stop()
    }
  })
})

/** Records what a plugin sees in each hook. */
const SEEN = `const fs = require('node:fs')
const path = require('node:path')
const file = path.join(process.env.HARAKA, 'seen')
exports.register = function () {
  for (const hook of ['mail', 'rcpt_ok', 'data_post', 'queue_ok']) this.register_hook(hook, 'see')
  this.register_hook('queue', 'see', -50)
}
exports.see = (next, connection) => {
  const rcpt_to = connection.transaction.rcpt_to.map((one) => one.address).join(' ')
  fs.appendFileSync(file, [connection.hook, connection.relaying, rcpt_to].join('\\t') + '\\n')
  next()
}
`

function seen(haraka: Haraka, hook: string): { relaying: string; rcpt_to: string }[] {
  return readFileSync(path.join(haraka.dir, 'seen'), 'utf8')
    .split('\n')
    .map((line) => line.split('\t'))
    .filter(([name]) => name === hook)
    .map(([, relaying = '', rcpt_to = '']) => ({ relaying, rcpt_to }))
}
