// docs/edge.md is true: its secret, its users of Redis, its unit for systemd, and what it has inside and on
// the gateways, which may read Redis only.
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { chmodSync, copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { describe, test } from 'node:test'
import { promisify } from 'node:util'
import { readListKeys } from '../../plugins/gal-relay/fleet/list-keys'
import { ROOT_AND_US } from '../../plugins/gal-relay/trusted-file'
import { COMMAND, runCommand } from '../support/command'
import { type Block, blocksOf, isWhole, real } from '../support/docs'
import { startHaraka } from '../support/haraka'
import { startChild } from '../support/processes'
import { findProgram, skipWithout } from '../support/programs'
import { startRedis } from '../support/redis-server'
import { shell } from '../support/shell'
import { startSlapd } from '../support/slapd'
import { connectSmtp } from '../support/smtp'
import { until } from '../support/until'

const blocks = blocksOf('docs/edge.md')
const one = (language: string, is: (block: Block) => boolean) => {
  const found = blocks.filter((block) => block.language === language && is(block))
  assert.equal(found.length, 1, `${found.length} blocks`)
  return found[0]?.text ?? ''
}

const CLIENT = { client: '203.0.113.9', local: '10.0.0.5:25' }

describe('docs/edge.md', {
  skip: skipWithout('slapd', 'slapadd', 'redis-server', 'openssl'),
}, () => {
  test('inside, Redis and the gateways, as they stand there', async () => {
    const inside = mkdtempSync(path.join(tmpdir(), 'inside-'))
    const config = path.join(inside, 'config')
    mkdirSync(config)
    await shell(
      one('sh', () => true),
      inside,
    )
    const key = path.join(config, 'gal_relay.key')
    await readListKeys(key, ROOT_AND_US)
    const slapd = await startSlapd({ entries: ['ann@example.com'] })
    const users = one('conf', ({ text }) => /^user gateway/m.test(text))
    const redis = await startRedis({ conf: users.trimEnd().split('\n') })
    const to = (text: string) =>
      real(text, [
        ['rediss://gateway@redis.dmz.example', redis.url.replace('//', '//gateway@')],
        ['rediss://redis.dmz.example', redis.url.replace('//', '//publisher@')],
        ['url[] = ldaps://dc1.corp.example', `url[] = ${slapd.url}`],
        ['url[] = ldaps://dc2.corp.example\n', ''],
        ['dc=corp,dc=example', slapd.base],
        ['haraka@corp.example', slapd.bindDn],
        ['changes_every = 30s', 'changes_every = 2s'],
      ])
    const secret = (folder: string, name: string, text: string) =>
      writeFileSync(path.join(folder, name), `${text}\n`, { mode: 0o600 })
    writeFileSync(path.join(config, 'gal_relay.ini'), to(one('ini', isWhole)))
    secret(config, 'gal_relay.password', slapd.password)
    secret(config, 'redis.password', 'a-password')
    const args = [COMMAND, 'publish', '--config', inside]
    const publisher = await startChild(process.execPath, args, { env: { HARAKA: undefined } })
    const gateways = await Promise.all(
      [1, 2].map(async () => {
        const haraka = await startHaraka({
          ini: to(one('ini', ({ text }) => /^mode = received$/m.test(text) && /redis/.test(text))),
          files: { 'config/redis.password': 'another-password\n' },
        })
        const own = path.join(haraka.dir, 'config', 'gal_relay.key')
        copyFileSync(key, own)
        chmodSync(own, 0o600)
        return haraka
      }),
    )
    try {
      for (const { port } of gateways) {
        const replies = async () => {
          const smtp = await connectSmtp({ port, proxy: CLIENT })
          await smtp.ehlo()
          const to = ['ann@example.com', 'nobody@example.com']
          const { rcpt } = await smtp.transaction('a@b.example', to)
          await smtp.quit()
          return rcpt.map(({ code }) => code).join()
        }
        await until(async () => (await replies()) === '250,550', undefined, 30_000)
      }
      const checked = await runCommand(['check', '-c', inside])
      assert.equal(checked.code, 0, checked.stdout)
      assert.match(checked.stdout, /keys that begin with gal-relay: may be written and read/)
      const asGateway = ['--user', 'gateway', '-a', 'another-password', '--no-auth-warning']
      assert.match(await redis.run(...asGateway, 'SET', 'gal-relay:list:x', '1'), /NOPERM/)
    } finally {
      await publisher.end()
      await Promise.all(gateways.map((haraka) => haraka.stop()))
      await redis.stop()
      await slapd.stop()
      rmSync(inside, { recursive: true, force: true })
    }
  })

  test('systemd reads the unit', {
    skip: findProgram('systemd-analyze') ? false : 'no systemd-analyze',
  }, async () => {
    const folder = mkdtempSync(path.join(tmpdir(), 'unit-'))
    try {
      const unit = path.join(folder, 'gal-relay-publish.service')
      const text = one('conf', (block) => /^\[Unit\]/m.test(block.text))
      writeFileSync(unit, real(text, [['/usr/bin/npx', process.execPath]]))
      const { stderr } = await promisify(execFile)('systemd-analyze', ['verify', unit]).catch(
        (error: { readonly stderr: string }) => error,
      )
      const ours = stderr.split('\n').filter((line) => line.includes('gal-relay-publish'))
      assert.deepEqual(ours, [])
    } finally {
      rmSync(folder, { recursive: true, force: true })
    }
  })
})
