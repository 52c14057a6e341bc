// What is seen of a decision: a line in the log for each refusal, and for other plugins a result for
// each recipient.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import path from 'node:path'
import { after, before, test } from 'node:test'
import { type EmbeddedLdap, startEmbeddedLdap } from './support/embedded-ldap'
import { type Haraka, startHaraka } from './support/haraka'
import { connectSmtp, type SmtpClient } from './support/smtp'
import { until } from './support/until'

/** Writes down the plugin's results, as a plugin that scores or logs would read them. */
const RESULTS = `const fs = require('node:fs')
const path = require('node:path')
const file = path.join(process.env.HARAKA, 'results')
exports.register = function () {
  for (const hook of ['rcpt_ok', 'data_post']) this.register_hook(hook, 'dump')
}
exports.dump = (next, connection) => {
  const results = connection.transaction.results.get('gal-relay')
  fs.appendFileSync(file, JSON.stringify({ hook: connection.hook, results }) + '\\n')
  next()
}
`

let directory: EmbeddedLdap
let haraka: Haraka
before(async () => {
  directory = await startEmbeddedLdap(
    ['alice@example.com', { mail: 'staff@example.com', msExchRequireAuthToSendTo: 'TRUE' }],
    { bindDn: 'cn=reader', bindPassword: 'geheim' },
  )
  haraka = await startHaraka({
    logLevel: 'notice',
    auth: { carol: 'carol-secret', guest: 'guest-secret' },
    plugins: ['gal-relay', 'test-queue', 'results'],
    files: { 'plugins/results.js': RESULTS },
    ini: `[routes]
example.com = inbound
down.example = inbound
partner.example = always-relay
[restrictions]
hosts[] = 10.1.0.0/16
never[] = 10.1.6.6
[listener *:587]
authenticated = true
[listener *:26]
mixed = defer
[listener *:27]
reroute = false
[ldap]
url[] = ${directory.url}
base = ${directory.base}
bind_dn = cn=reader
bind_password = geheim
`,
  })
})
after(async () => {
  await haraka.stop()
  await directory.stop()
})

async function connect(client: string, local: string): Promise<SmtpClient> {
  const smtp = await connectSmtp({ port: haraka.port, proxy: { client, local } })
  await smtp.ehlo()
  return smtp
}

/** What is said about the refusal of that recipient. */
async function refusal(
  recipient: string,
  action: 'refused' | 'deferred' = 'refused',
): Promise<string> {
  const text = recipient.replace(/[.%]/g, '\\$&')
  const line = await haraka.waitForLog(
    new RegExp(
      `\\[NOTICE\\] \\[[-0-9A-F]+\\.\\d+\\] \\[gal-relay\\] ${action} .* recipient=${text} `,
    ),
  )
  return line.replace(/^.*\] (refused|deferred) /, '')
}

test('a refusal is logged with all that is needed to explain it', async () => {
  for (const [client, local, to, rule, reply] of [
    [
      '203.0.113.9',
      '10.0.0.5:25',
      'friend@one.example',
      'no-relay-nobody',
      '550 5.7.1 Relaying is prohibited',
    ],
    [
      '10.1.6.6',
      '10.0.0.5:25',
      'friend@two.example',
      'no-relay-never',
      '550 5.7.1 Relaying is prohibited',
    ],
    [
      '10.1.0.1',
      '10.0.0.5:27',
      'friend@three.example',
      'no-relay-reroute-off',
      '550 5.7.1 Relaying is prohibited',
    ],
    [
      '203.0.113.9',
      '10.0.0.5:25',
      'nobody@example.com',
      'not-in-gal',
      '550 5.1.1 Recipient unknown',
    ],
    [
      '203.0.113.9',
      '10.0.0.5:25',
      'a%b.example@example.com',
      'routes-onward',
      '550 5.7.1 Relaying is prohibited',
    ],
    [
      '203.0.113.9',
      '10.0.0.5:25',
      'a%b.example@partner.example',
      'routes-onward',
      '550 5.7.1 Relaying is prohibited',
    ],
    [
      '203.0.113.9',
      '10.0.0.5:25',
      'staff@example.com',
      'authenticated-only',
      '550 5.7.1 This recipient takes mail from authenticated senders only',
    ],
    [
      '2001:db8::9',
      '[2001:db8::5]:25',
      'friend@four.example',
      'no-relay-nobody',
      '550 5.7.1 Relaying is prohibited',
    ],
  ] as const) {
    const smtp = await connect(client, local)
    const { rcpt } = await smtp.transaction('Sender@B.example', [to])
    assert.equal(rcpt[0]?.line, reply)
    const host = `client-${client.replace(/[.:]+/g, '-')}.test`
    assert.equal(
      await refusal(to),
      `client=${client} host=${host} helo=client.test account="" sender=Sender@B.example recipient=${to} listener=${local.replace(/[[\]]/g, '')} rule=${rule} reply="${reply}"`,
    )
    await smtp.quit()
  }
})

test('a refusal names the account, and an empty sender', async () => {
  const smtp = await connect('10.2.0.1', '10.0.0.5:587')
  assert.equal((await smtp.auth('guest', 'guest-secret')).code, 235)
  const { rcpt } = await smtp.transaction('', ['friend@five.example'])
  assert.equal(rcpt[0]?.code, 550)
  assert.equal(
    await refusal('friend@five.example'),
    'client=10.2.0.1 host=client-10-2-0-1.test helo=client.test account=guest sender="" recipient=friend@five.example listener=10.0.0.5:587 rule=no-relay-nobody reply="550 5.7.1 Relaying is prohibited"',
  )
  await smtp.quit()

  const late = await connect('10.2.0.2', '10.0.0.5:26')
  await late.transaction('a@b.example', ['friend@early.example'])
  assert.equal((await late.auth('guest', 'guest-secret')).code, 235)
  await late.rcpt('friend@late.example')
  assert.match(await refusal('friend@early.example'), / account="" /)
  assert.match(await refusal('friend@late.example'), / account=guest /)
  await late.quit()
})

test('a deferral is logged in the same way', async () => {
  const smtp = await connect('10.1.0.1', '10.0.0.5:26')
  await smtp.transaction('a@b.example', ['alice@example.com', 'friend@six.example'])
  assert.match(await refusal('friend@six.example', 'deferred'), /rule=mixed reply="452 4\.5\.3 /)
  await smtp.quit()
})

test('other plugins find a result for each recipient', async () => {
  const smtp = await connect('10.1.0.1', '10.0.0.5:25')
  const to = [
    'alice@example.com',
    'nobody@example.com',
    'friend@six.example',
    'postmaster@example.com',
    'postmaster',
    'x@partner.example',
  ]
  const { rcpt, data } = await smtp.transaction('a@b.example', to, 'Subject: x\r\n\r\nx\r\n')
  assert.deepEqual(
    [...rcpt.map(({ code }) => code), data?.code],
    [250, 550, 250, 250, 250, 250, 250],
  )
  await smtp.quit()
  const dumps = readFileSync(path.join(haraka.dir, 'results'), 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line))
  assert.deepEqual(dumps.at(-1).hook, 'data_post')
  assert.deepEqual(dumps.at(-1).results.pass, [
    'in-gal alice@example.com',
    'relay-hosts friend@six.example',
    'always-accept postmaster@example.com',
    'postmaster postmaster',
    'always-relay x@partner.example',
  ])
  assert.deepEqual(dumps.at(-1).results.fail, ['not-in-gal nobody@example.com'])
  assert.deepEqual(dumps.map(({ hook }) => hook).filter((hook) => hook === 'rcpt_ok').length, 5 + 1)
  assert.doesNotMatch(JSON.stringify(dumps), /geheim/)
})

test('what a client sends forges no line in the log', async () => {
  const smtp = await connect('203.0.113.9', '10.0.0.5:25')
  await smtp.mail('a@b.example')
  let refused = 0
  for (const local of ['"x\\"y = z"', '"a rule=in-gal b"', 'x=y', '"[NOTICE]"']) {
    const reply = await smtp.rcpt(`${local}@forged.example`)
    assert.ok([550, 501].includes(reply.code), reply.line)
    if (reply.code === 550) refused++
  }
  await smtp.quit()
  assert.ok(refused > 0)
  const refusals = () => haraka.logLines(/\] refused .*forged\.example/)
  await until(() => refusals().length >= refused)
  for (const line of refusals()) {
    assert.match(line, / recipient=("(?:[^"\\]|\\.)*"|[^\s"]+) listener=/)
    assert.match(line, / rule=no-relay-nobody reply="550 5\.7\.1 Relaying is prohibited"$/)
  }
})
