// The README's first example is a complete configuration, and does what is said there.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'node:test'
import { startEmbeddedLdap } from './support/embedded-ldap'
import { REPOSITORY, startHaraka } from './support/haraka'
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
