// What is over must go with the next scavenge: what outlives it is copied, and then stays until V8 looks
// through the whole heap.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { type EmbeddedLdap, startEmbeddedLdap } from './support/embedded-ldap'
import { type Haraka, startHaraka } from './support/haraka'
import { connectSmtp } from './support/smtp'
import { until } from './support/until'

const CONNECTIONS = 20
const TRANSACTIONS = 5
/** Bytes that each transaction holds. */
const BALLAST = 100_000

const WEIGH = `const v8 = require('node:v8')
const vm = require('node:vm')
exports.register = function () {
  v8.setFlagsFromString('--expose-gc')
  const collect = vm.runInNewContext('gc')
  process.on('SIGUSR2', () => {
    for (let i = 0; i < 3; i++) collect({ type: 'minor' })
    process.stdout.write('ballast: ' + process.memoryUsage().arrayBuffers + '\\n')
  })
}
exports.hook_mail = (next, { transaction }) => {
  transaction.notes.ballast = new ArrayBuffer(${BALLAST})
  next()
}
`

let directory: EmbeddedLdap
let haraka: Haraka
let connections = 0
before(async () => {
  directory = await startEmbeddedLdap(['alice@example.com'])
  haraka = await startHaraka({
    plugins: ['gal-relay', 'test-queue', 'weigh'],
    files: { 'plugins/weigh.js': WEIGH },
    ini: `[routes]
example.com = inbound
[listener *:26]
enforce = false
[ldap]
url[] = ${directory.url}
base = ${directory.base}
`,
  })
})
after(async () => {
  await haraka.stop()
  await directory.stop()
})

/** What is alive when all connections have ended, in bytes. */
async function weight(): Promise<number> {
  await until(() => haraka.logLines(/\[core\] disconnect /).length === connections)
  const from = haraka.log().length
  process.kill(haraka.pid, 'SIGUSR2')
  const line = await haraka.waitForLog(/^ballast: \d+$/, 10_000, from)
  return Number(line.slice('ballast: '.length))
}

async function send(local: string): Promise<void> {
  connections++
  const smtp = await connectSmtp({
    port: haraka.port,
    proxy: { client: '203.0.113.7', local },
  })
  await smtp.ehlo()
  for (let i = 0; i < TRANSACTIONS; i++) {
    const recipients = ['alice@example.com', 'nobody@example.com']
    await smtp.transaction(
      'sender@elsewhere.example',
      recipients,
      'Subject: hello\r\n\r\nhello\r\n',
    )
  }
  await smtp.quit()
}

for (const [port, does] of [
  [25, 'enforced'],
  [26, 'observed'],
] as const) {
  test(`where the verdict is ${does}, no transaction outlives its end`, async () => {
    await send(`10.0.0.5:${port}`)
    const empty = await weight()
    for (let i = 0; i < CONNECTIONS; i++) await send(`10.0.0.5:${port}`)
    const left = ((await weight()) - empty) / BALLAST
    assert.ok(left < CONNECTIONS / 2, `${left} of ${CONNECTIONS * TRANSACTIONS} are left`)
  })
}
