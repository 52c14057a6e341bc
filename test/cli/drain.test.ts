// `gal-relay drain`: what waits for a next hop is listed, and nothing else, while Haraka is at work in the
// same folder.
import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { describe, test } from 'node:test'
import { readQueue } from '../../plugins/gal-relay/delivery/queue-files'
import { loadCommand } from '../support/command'
import { startEmbeddedLdap } from '../support/embedded-ldap'
import { startHaraka, writeInstall } from '../support/haraka'
import { writeQueueFile } from '../support/queue-file'
import { connectSmtp } from '../support/smtp'

const { runCommand, runJson } = loadCommand()

interface Drained {
  readonly messages: number
  readonly others: number
  readonly unreadable: readonly string[]
  readonly waiting: readonly {
    readonly next_hops: readonly string[]
    readonly domain: string
    readonly messages: number
    readonly recipients: number
    readonly oldest: number
    readonly attempts: number
  }[]
}

const drain = (root: string) => runJson<Drained>(['drain', '--config', root])

async function inInstall(use: (root: string) => Promise<void>, ini?: string): Promise<void> {
  const root = mkdtempSync(path.join(tmpdir(), 'install-'))
  try {
    writeInstall(root, [25], { ini })
    await use(root)
  } finally {
    rmSync(root, { recursive: true, force: true })
  }
}

const LDAP = '[ldap]\nurl[] = ldap://127.0.0.1:1\nbase = dc=test\n'

describe('gal-relay drain', () => {
  test('counts what Haraka has queued for next hops, and not what goes to MX hosts', async () => {
    const ldap = await startEmbeddedLdap(['a@hop.example', 'b@hop.example', 'a@ours.example'])
    const haraka = await startHaraka({
      ini: `[routes]
ours.example = inbound
hop.example = inbound smtp://one.example smtp://two.example:26
backup.example = always-relay
[restrictions]
hosts[] = 192.168.1.0/24
[ldap]
url[] = ${ldap.url}
base = ${ldap.base}
`,
    })
    try {
      assert.deepEqual(await drain(haraka.dir), {
        code: 0,
        json: {
          queue: path.join(haraka.dir, 'queue'),
          ...{ messages: 0, others: 0, unreadable: [], waiting: [] },
        },
      })
      const before = Date.now()
      const smtp = await connectSmtp({
        port: haraka.port,
        proxy: { client: '192.168.1.7', local: '10.0.0.5:25' },
      })
      await smtp.ehlo()
      const body = 'Subject: x\r\n\r\nx\r\n'
      for (const to of [
        ['a@hop.example', 'b@hop.example', 'a@ours.example'],
        ['a@hop.example', 'x@far.example', 'x@backup.example'],
      ]) {
        const { data } = await smtp.transaction('me@sender.example', to, body)
        assert.equal(data?.code, 250)
      }
      await smtp.quit()
      const { code, json } = await drain(haraka.dir)
      assert.equal(code, 1)
      assert.deepEqual([json.messages, json.others, json.unreadable], [3, 1, []])
      const known = json.waiting.map(({ oldest, ...one }) => {
        assert.ok(oldest >= before && oldest <= Date.now(), `${oldest}`)
        return one
      })
      const hops = ['smtp://one.example:25', 'smtp://two.example:26']
      assert.deepEqual(known, [
        { next_hops: hops, domain: 'hop.example', messages: 2, recipients: 3, attempts: 0 },
        { next_hops: [], domain: 'backup.example', messages: 1, recipients: 1, attempts: 0 },
      ])
      const { stdout } = await runCommand(['drain', '--config', haraka.dir])
      assert.match(stdout, /^3 messages wait for a next hop:\n {2}smtp:\/\/one\.example:25, smtp:/)
      assert.match(stdout, /\n1 other message does not need the plugin\n$/)
    } finally {
      await haraka.stop()
      await ldap.stop()
    }
  })

  test('goes by what a message was accepted with where the settings say nothing of it', async () => {
    const url = 'smtp://old.example:25'
    for (const ini of [LDAP, 'nonsense = x\n', undefined]) {
      await inInstall(async (root) => {
        writeQueueFile(root, { domain: 'gone.example', hops: [url], attempts: 7 })
        writeQueueFile(root, { domain: 'far.example', hops: [] })
        const { code, json } = await drain(root)
        assert.equal(code, 1)
        assert.deepEqual([json.messages, json.others], [1, 1])
        assert.deepEqual(json.waiting[0]?.next_hops, [url])
        assert.equal(json.waiting[0]?.attempts, 7)
      }, ini)
    }
  })

  test('goes by the row of today', () =>
    inInstall(async (root) => {
      writeQueueFile(root, { domain: 'moved.example', hops: ['smtp://old.example:25'] })
      const { json } = await drain(root)
      assert.deepEqual(json.waiting[0]?.next_hops, ['smtp://new.example:25'])
    }, `[routes]\nmoved.example = forward smtp://new.example\n${LDAP}`))

  test('does not take a broken file for none, and passes over what is no message', () =>
    inInstall(async (root) => {
      const queue = path.join(root, 'queue')
      mkdirSync(path.join(queue, 'lost+found'))
      writeFileSync(path.join(queue, 'README'), 'not ours')
      writeFileSync(path.join(queue, '__tmp__.1_1_0_1_a_1_mx'), 'unfinished')
      assert.equal((await drain(root)).code, 0)
      const broken = '1700000000000_1700000000000_0_1_aaaaaa_1_mx'
      writeFileSync(path.join(queue, broken), '\xff\xff')
      const { code, json } = await drain(root)
      assert.deepEqual([code, json.messages, json.unreadable], [1, 0, [broken]])
    }, LDAP))

  test('cannot say that nothing waits where it cannot look', () =>
    inInstall(async (root) => {
      writeFileSync(path.join(root, 'config', 'queue_dir'), path.join(root, 'elsewhere'))
      const { code, json } = await runJson<{ readonly error: string }>([
        ...['drain', '--config', root],
      ])
      assert.equal(code, 2)
      assert.match(json.error, /^the outbound queue cannot be read: ENOENT.*elsewhere/)
    }, LDAP))

  test('misses no message that Haraka gives another name meanwhile', () =>
    inInstall(async (root) => {
      const queue = path.join(root, 'queue')
      let name = writeQueueFile(root, { domain: 'hop.example', hops: ['smtp://h:25'] })
      let attempts = 0
      let isDone = false
      const renaming = (async () => {
        while (!isDone) {
          const next = name.replace(/^(\d+)_(\d+)_\d+_/, `$1_$2_${++attempts}_`)
          renameSync(path.join(queue, name), path.join(queue, next))
          name = next
          await new Promise((resolve) => setTimeout(resolve, 1))
        }
      })()
      for (let i = 0; i < 300; i++) assert.equal((await readQueue(queue)).messages.length, 1)
      isDone = true
      await renaming
      assert.ok(attempts > 10)
    }, LDAP))
})
