// The README's first example is a complete configuration, and does what the README says.
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { test } from 'node:test'
import { promisify } from 'node:util'
import { blocksOf, real } from './support/docs'
import { startEmbeddedLdap } from './support/embedded-ldap'
import { REPOSITORY, startHaraka } from './support/haraka'
import { packedPackage, shell } from './support/shell'
import { connectSmtp } from './support/smtp'

const README = readFileSync(path.join(REPOSITORY, 'README.md'), 'utf8')
const [, EXAMPLE = ''] = /^```ini\n(.*?)^```$/ms.exec(README) ?? []

test('is at most 8 lines of ini', () => {
  const lines = EXAMPLE.split('\n').filter((line) => line.trim() !== '')
  assert.ok(lines.length >= 4 && lines.length <= 8, EXAMPLE)
})

test('takes mail for one domain, and lets one network relay', async () => {
  const directory = await startEmbeddedLdap(['alice@example.com'])
  const haraka = await startHaraka({
    ini: EXAMPLE.replace(/^(url\[\] = ).*$/m, `$1${directory.url}`).replace(
      /^(base = ).*$/m,
      `$1${directory.base}`,
    ),
  })
  try {
    const to = ['alice@example.com', 'nobody@example.com', 'friend@elsewhere.example']
    for (const [client, codes] of [
      ['192.168.1.7', [250, 550, 250]],
      ['192.168.2.7', [250, 550, 550]],
      ['127.0.0.1', [250, 550, 550]],
    ] as const) {
      const smtp = await connectSmtp({ port: haraka.port, proxy: { client, local: '10.0.0.5:25' } })
      await smtp.ehlo()
      const { rcpt, data } = await smtp.transaction('a@b.example', to, 'Subject: x\r\n\r\nx\r\n')
      assert.deepEqual(
        rcpt.map(({ code }) => code),
        codes,
        client,
      )
      assert.equal(data?.code, 250)
      await smtp.quit()
    }
    assert.equal(haraka.delivered().length, 3)
    assert.deepEqual(
      haraka.outboundMessages().map(({ rcpt_to }) => rcpt_to),
      [['friend@elsewhere.example']],
    )
    assert.deepEqual(haraka.logLines(/\[WARN\] \[-\] \[gal-relay\]/), [])
  } finally {
    await haraka.stop()
    await directory.stop()
  }
})

test('its two-minute instructions lead from a new Haraka to the first correct answers', async () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'readme-'))
  const dir = path.join(folder, 'mx')
  const directory = await startEmbeddedLdap(['alice@example.com'])
  try {
    const { file } = await packedPackage()
    const bin = path.join(path.dirname(require.resolve('haraka/package.json')), 'bin', 'haraka')
    await promisify(execFile)(process.execPath, [bin, '-i', dir])
    const blocks = blocksOf('README.md').filter(({ language }) => language === 'sh')
    assert.equal(blocks.length, 1)
    const commands = real(blocks[0]?.text ?? '', [
      ['npm install', 'npm install --no-audit --no-fund --prefer-offline'],
      ['haraka-plugin-gal-relay', file],
      ['ldap://dc1.corp.example', directory.url],
    ])
    assert.match(await shell(commands, dir), /\n0 problems, 0 warnings\n$/)
    const lines = (name: string) =>
      readFileSync(path.join(dir, 'config', name), 'utf8')
        .trim()
        .split('\n')
    const haraka = await startHaraka({
      dir,
      hostList: lines('host_list'),
      plugins: lines('plugins').filter((line) => /^(gal-relay|rcpt_to\.)/.test(line)),
    })
    try {
      const proxy = { client: '203.0.113.9', local: '10.0.0.5:25' }
      const smtp = await connectSmtp({ port: haraka.port, proxy })
      await smtp.ehlo()
      const to = ['alice@example.com', 'nobody@example.com', 'friend@elsewhere.example']
      const { rcpt } = await smtp.transaction('news@shop.example', to)
      assert.deepEqual(
        rcpt.map(({ line }) => line.slice(0, 9)),
        ['250 recip', '550 5.1.1', '550 5.7.1'],
      )
      await smtp.quit()
    } finally {
      await haraka.stop()
    }
  } finally {
    await directory.stop()
    rmSync(folder, { recursive: true, force: true })
  }
})
