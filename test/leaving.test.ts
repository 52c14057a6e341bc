// Observe, enforce, observe and uninstall on a server under load: no valid recipient gets a 5xx at any
// moment, and no message that was accepted is lost.
import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { COMMAND, loadCommand } from './support/command'
import { type Block, blocksOf, fileOf } from './support/docs'
import { startEmbeddedLdap } from './support/embedded-ldap'
import { type Haraka, startHaraka } from './support/haraka'
import { skipWithout } from './support/programs'
import { shell, shims } from './support/shell'
import { connectSmtp, type SmtpClient } from './support/smtp'
import { type SmtpSink, startSink } from './support/smtp-sink'
import { until } from './support/until'

const { runCommand } = loadCommand()
const PEOPLE = ['alice@example.com', 'bob@example.com', 'carol@hop.example', 'dave@hop.example']
const OUTSIDE = { client: '192.0.2.77', local: '10.0.0.5:25' }
const SENDERS = 4
/** Milliseconds between a sender's messages: a few thousand in all are enough. */
const PAUSE = 50
/** So many messages are accepted before the next step is taken. */
const EACH_STEP = 40

/** Sends to valid recipients all the time, and keeps count of what was accepted. */
class Load {
  /** `id recipient`, of messages that were answered 250 */
  readonly accepted = new Set<string>()
  /** Answers that no sender may get for a valid recipient. */
  readonly refused: string[] = []
  #isOver = false
  #ids = 0
  readonly #senders: readonly Promise<void>[]

  constructor(port: number) {
    this.#senders = Array.from({ length: SENDERS }, () => this.#send(port))
  }

  /** Until that many more messages have been accepted. */
  async more(count: number): Promise<void> {
    const from = this.accepted.size
    await until(() => this.accepted.size >= from + count)
  }

  async end(): Promise<void> {
    this.#isOver = true
    await Promise.all(this.#senders)
  }

  async #send(port: number): Promise<void> {
    while (!this.#isOver) {
      let smtp: SmtpClient | undefined
      try {
        smtp = await connectSmtp({ port, proxy: OUTSIDE })
        await smtp.ehlo()
        for (let left = 10; left > 0 && !this.#isOver; left--) {
          await this.#message(smtp)
          await sleep(PAUSE)
        }
      } catch {
        // Haraka is being restarted: as any sender does, it comes again.
        await sleep(PAUSE)
      } finally {
        smtp?.close()
      }
    }
  }

  async #message(smtp: SmtpClient): Promise<void> {
    const id = `<${++this.#ids}@load.test>`
    // One way or the other, or both.
    const to = PEOPLE.filter((_, i) => (this.#ids >> i) % 2 === 1 || i === this.#ids % 4)
    const body = `Message-Id: ${id}\r\nSubject: load\r\n\r\nbody\r\n`
    const { mail, rcpt, data } = await smtp.transaction('me@sender.example', to, body)
    for (const { line } of [mail, ...rcpt, ...(data ? [data] : [])]) {
      if (line.startsWith('5')) this.refused.push(`${id} to ${to.join(', ')}: ${line}`)
    }
    if (data?.code !== 250) return
    for (const [i, { code }] of rcpt.entries()) {
      if (code === 250) this.accepted.add(`${id} ${to[i]}`)
    }
  }
}

const idOf = (message: string) => /^Message-Id: (\S+)$/im.exec(message)?.[1]

/** `id recipient`, of all that has arrived either way */
function arrived(haraka: Haraka, sink: SmtpSink): ReadonlySet<string> {
  const queued = haraka
    .delivered()
    .flatMap(({ rcpt_to, body }) => rcpt_to.map((to) => `${idOf(body.toString())} ${to}`))
  const sunk = sink
    .messages()
    .flatMap(({ rcpt_to, headers }) => rcpt_to.map((to) => `${idOf(headers.join('\n'))} ${to}`))
  return new Set([...queued, ...sunk])
}

describe('leaving', { skip: skipWithout('smtp-sink') }, () => {
  test('observe, enforce, observe, uninstall, under load', async () => {
    const ldap = await startEmbeddedLdap(PEOPLE)
    const sink = await startSink()
    const ini = (enforce: string, hop = ` smtp://127.0.0.1:${sink.port}`) => `[main]
enforce = ${enforce}
[routes]
example.com = inbound
hop.example = inbound${hop}
[ldap]
url[] = ${ldap.url}
base = ${ldap.base}
`
    const haraka = await startHaraka({
      ini: ini('false'),
      plugins: ['test-retry', 'gal-relay', 'test-queue'],
      outbound: true,
      logLevel: 'notice',
      hostList: ['example.com', 'hop.example'],
      files: { 'config/outbound.ini': 'temp_fail_intervals=5s*600\n' },
    })
    const load = new Load(haraka.port)
    /** What an unknown recipient and a foreign one are answered: which of the steps it is. */
    const strangers = async () => {
      const smtp = await connectSmtp({ port: haraka.port, proxy: OUTSIDE })
      await smtp.ehlo()
      const to = ['nobody@example.com', 'friend@far.example']
      const { rcpt } = await smtp.transaction('me@sender.example', to)
      await smtp.quit()
      return rcpt.map(({ code }) => code)
    }
    const drain = () => runCommand(['drain', '--config', haraka.dir])
    try {
      await load.more(EACH_STEP)
      assert.deepEqual(await strangers(), [250, 550])
      for (const [enforce, answers] of [
        ['true', [550, 550]],
        ['relaying', [250, 550]],
        ['true', [550, 550]],
        ['false', [250, 550]],
      ] as const) {
        await haraka.reload(ini(enforce))
        await load.more(EACH_STEP)
        assert.deepEqual(await strangers(), answers, `enforce = ${enforce}`)
      }
      assert.ok(haraka.logLines(/observed DIFFERS .*nobody@example\.com/).length > 0)

      // What goes to the next hop waits by now, and new mail takes another way.
      await sink.end()
      await load.more(EACH_STEP)
      await until(async () => (await drain()).code === 1)
      await haraka.reload(ini('false', ''))
      await load.more(EACH_STEP)
      assert.match((await drain()).stdout, /^\d+ messages? waits? for a next hop/)
      await sink.start()
      await until(async () => (await drain()).code === 0)

      const plugins = [
        'test-rdns',
        'test-retry',
        'rcpt_to.in_host_list',
        'test-queue',
        'test-harness',
      ]
      haraka.writeConfig('plugins', `${plugins.join('\n')}\n`)
      await haraka.restart()
      await load.more(EACH_STEP)
      assert.doesNotMatch(haraka.log(), /\[gal-relay\]/)
      await load.end()

      assert.deepEqual(load.refused, [])
      const missing = () => {
        const all = arrived(haraka, sink)
        return [...load.accepted].filter((one) => !all.has(one))
      }
      await until(() => missing().length === 0).catch(() => {})
      assert.deepEqual(missing(), [])
      assert.deepEqual(haraka.queueFiles(), [], path.join(haraka.dir, 'queue'))
    } finally {
      await load.end()
      await haraka.stop()
      await sink.stop()
      await ldap.stop()
    }
  })
})

describe('docs/leaving.md', { skip: skipWithout('smtp-sink') }, () => {
  const all = blocksOf('docs/leaving.md')
  const away = all.findIndex(({ before }) => before.includes('When a next hop stays down'))

  /** A server whose only next hop is down, with a message that waits for it. */
  async function inInstall(use: (install: Install) => Promise<void>): Promise<void> {
    const ldap = await startEmbeddedLdap(PEOPLE)
    const sink = await startSink()
    await sink.end()
    const haraka = await startHaraka({
      ini: `[main]
enforce = true
[routes]
example.com = inbound smtp://127.0.0.1:${sink.port}
[ldap]
url[] = ${ldap.url}
base = ${ldap.base}
`,
      plugins: ['test-retry', 'gal-relay', 'test-queue'],
      outbound: true,
      files: { 'config/outbound.ini': 'temp_fail_intervals=5s*600\n' },
    })
    const bin = shims(haraka.dir, {
      npx: `shift; exec ${process.execPath} ${COMMAND} "$@"`,
      npm: 'test "$1" = uninstall && rm node_modules/$2',
    })
    const real = (text: string) =>
      text
        .replace('exchange.corp.example:25', `127.0.0.1:${sink.port}`)
        .replace('sleep 60', 'sleep 1')
    const file = (name: string) => path.join(haraka.dir, 'config', name)
    const install: Install = {
      haraka,
      sink,
      async follow(block) {
        if (/Restart Haraka/.test(block.before)) await haraka.restart()
        const text = real(block.text)
        if (block.language === 'sh') {
          return shell(text, haraka.dir, { PATH: `${bin}:${process.env.PATH}` })
        }
        const name = fileOf(block)
        const old = name === 'gal_relay.ini' ? readFileSync(file(name), 'utf8') : ''
        writeFileSync(file(name), old ? edited(old, text) : text)
        return ''
      },
      async answers(...to) {
        const smtp = await connectSmtp({ port: haraka.port, proxy: OUTSIDE })
        await smtp.ehlo()
        const { rcpt } = await smtp.transaction('me@sender.example', to)
        await smtp.quit()
        return rcpt.map(({ code }) => code)
      },
    }
    try {
      const smtp = await connectSmtp({ port: haraka.port, proxy: OUTSIDE })
      await smtp.ehlo()
      const { data } = await smtp.transaction(
        'me@sender.example',
        ['alice@example.com'],
        'A: b\r\n',
      )
      await smtp.quit()
      assert.equal(data?.code, 250)
      await haraka.waitForLog(/Temp failing/)
      await use(install)
    } finally {
      await haraka.stop()
      await sink.stop()
      await ldap.stop()
    }
  }

  test('leaves, as it says, with what waits delivered', () =>
    inInstall(async ({ haraka, sink, follow, answers }) => {
      const waits = async () => (await runCommand(['drain', '--config', haraka.dir])).code === 1
      let steps = 0
      for (const block of all.slice(0, away)) {
        const { before, language, text } = block
        if (/drain/.test(text)) {
          assert.ok(await waits())
          await sink.start()
        }
        const from = haraka.log().length
        const output = await follow(block)
        const isEdit = language === 'ini' || /gal_relay\.ini/.test(text)
        if (isEdit) await haraka.waitForLog(/settings reloaded/, undefined, from)
        if (/gal-relay check/.test(text)) assert.match(output, /accepted without a look-up/)
        if (/enforce = relaying/.test(text)) {
          assert.deepEqual(await answers('nobody@example.com', 'friend@far.example'), [250, 550])
        }
        if (/until/.test(text)) assert.match(output, /nothing waits for a next hop\n$/)
        if (/Restart Haraka/.test(before)) steps++
        assert.deepEqual(await answers('alice@example.com'), [250], text)
      }
      assert.equal(steps, 1)
      assert.deepEqual(await answers('alice@example.com', 'friend@far.example'), [250, 550])
      assert.doesNotMatch(haraka.log(), /\[gal-relay\]/)
      assert.deepEqual(haraka.queueFiles(), [])
      assert.deepEqual((await sink.taken(1))[0]?.rcpt_to, ['alice@example.com'])
    }))

  test('has Haraka deliver what waits, where the next hop stays away', () =>
    inInstall(async ({ haraka, sink, follow }) => {
      const blocks = all.slice(away)
      assert.deepEqual(
        blocks.map(({ language }) => language),
        ['ini', 'ini', 'sh'],
      )
      for (const block of blocks) await follow(block)
      await sink.start()
      await haraka.restart()
      assert.deepEqual((await sink.taken(1))[0]?.rcpt_to, ['alice@example.com'])
      await until(() => haraka.queueFiles().length === 0)
      assert.doesNotMatch(haraka.log(), /\[gal-relay\]/)
    }))
})

interface Install {
  readonly haraka: Haraka
  readonly sink: SmtpSink
  /** @returns what its commands printed */
  follow(block: Block): Promise<string>
  /** @returns the codes of the replies to the recipients */
  answers(...to: string[]): Promise<number[]>
}

/** @param lines each takes the place of the one with the same key */
function edited(ini: string, lines: string): string {
  let text = ini
  for (const line of lines.split('\n').filter((one) => one.includes(' = '))) {
    const key = line.slice(0, line.indexOf(' = '))
    const old = text.split('\n').find((one) => one.startsWith(`${key} = `))
    assert.ok(old, key)
    text = text.replace(old, line)
  }
  return text
}
