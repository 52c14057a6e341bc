// Who may relay when other plugins have a say too: AUTH, XCLIENT, the PROXY protocol, and plugins that set
// connection.relaying. Only the rules decide.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import path from 'node:path'
import { after, before, describe, test } from 'node:test'
import { type EmbeddedLdap, startEmbeddedLdap } from './support/embedded-ldap'
import { type Haraka, type HarakaOptions, startHaraka } from './support/haraka'
import { freePort } from './support/ports'
import { sharedHaraka } from './support/shared-haraka'
import { connectSmtp, type SmtpClient } from './support/smtp'

const MESSAGE = 'Subject: hello\r\n\r\nhello\r\n'
const FOREIGN = 'friend@elsewhere.example'
const PASSWORDS = { carol: 'carol-secret', guest: 'guest-secret' }

let directory: EmbeddedLdap
before(async () => {
  directory = await startEmbeddedLdap(['alice@example.com'])
})
after(() => directory.stop())

function iniOf(more: string, { url, base } = directory): string {
  const ldap = `[ldap]\nurl[] = ${url}\nbase = ${base}\n`
  return `[routes]\nexample.com = inbound\npartner.example = always-relay\n${more}${ldap}`
}

function start(ini: string, options: HarakaOptions = {}, from = directory): Promise<Haraka> {
  return startHaraka({
    ini: iniOf(ini, from),
    auth: PASSWORDS,
    ...options,
    files: { 'plugins/seen.js': SEEN, ...options.files },
  })
}

/** Records what a plugin further down the list sees. */
const SEEN = `const fs = require('node:fs')
const path = require('node:path')
const file = path.join(process.env.HARAKA, 'seen')
exports.register = function () {
  for (const hook of ['connect', 'data_post']) this.register_hook(hook, 'see')
}
exports.see = (next, connection) => {
  fs.appendFileSync(file, [connection.hook, connection.remote.ip, connection.relaying].join(' ') + '\\n')
  next()
}
`

function seen(haraka: Haraka, hook: string): string[] {
  return readFileSync(path.join(haraka.dir, 'seen'), 'utf8')
    .split('\n')
    .filter((line) => line.startsWith(`${hook} `))
    .map((line) => line.slice(hook.length + 1))
}

async function connect(haraka: Haraka, client: string, local = '10.0.0.5:25'): Promise<SmtpClient> {
  const smtp = await connectSmtp({ port: haraka.port, proxy: { client, local } })
  await smtp.ehlo()
  return smtp
}

/** Code and enhanced code for one recipient, in a transaction of its own. */
async function rcpt(smtp: SmtpClient, to: string): Promise<string> {
  const { mail, rcpt } = await smtp.transaction('a@b.example', [to])
  await smtp.rset()
  return (rcpt[0] ?? mail).line.slice(0, 9)
}

const besideSeen = sharedHaraka({
  auth: PASSWORDS,
  plugins: ['gal-relay', 'test-queue', 'seen'],
  files: { 'plugins/seen.js': SEEN },
})
const besideDelayDeny = sharedHaraka({
  auth: PASSWORDS,
  plugins: ['delay_deny', 'gal-relay', 'rcpt_to.in_host_list', 'test-queue'],
})
after(() => Promise.all([besideSeen.stop(), besideDelayDeny.stop()]))

describe('an account', () => {
  let haraka: Haraka
  before(async () => {
    const ini = iniOf(`[listener *:587]
authenticated = true
never[] = 10.6.6.6
[listener 10.0.0.6:587]
authenticated = false
[listener *:26]
authenticated = true
`)
    await besideSeen.with(ini, undefined, async (shared) => {
      haraka = shared
    })
  })

  async function as(account: keyof typeof PASSWORDS, client: string, local: string) {
    const smtp = await connect(haraka, client, local)
    assert.equal((await smtp.auth(account, PASSWORDS[account])).code, 235)
    return smtp
  }

  for (const [account, client, local, reply, trusted] of [
    ['carol', '10.1.1.1', '10.0.0.5:587', '250', true],
    ['carol', '10.1.1.2', '10.0.0.5:25', '550 5.7.1', false],
    ['carol', '10.1.1.3', '10.0.0.6:587', '550 5.7.1', false],
    ['carol', '10.6.6.6', '10.0.0.5:587', '550 5.7.1', false],
    ['guest', '10.1.1.5', '10.0.0.5:587', '550 5.7.1', false],
  ] as const) {
    test(`${account} from ${client} at ${local} ${trusted ? 'may' : 'may not'} relay`, async () => {
      const smtp = await as(account, client, local)
      for (let round = 1; round <= 2; round++) {
        assert.ok((await rcpt(smtp, FOREIGN)).startsWith(reply), `round ${round}`)
      }
      const { data } = await smtp.transaction('a@b.example', ['alice@example.com'], MESSAGE)
      assert.equal(data?.code, 250)
      assert.equal(seen(haraka, 'data_post').at(-1), `${client} ${trusted}`)
      await smtp.quit()
    })
  }

  test('is required by Haraka at MAIL on port 587, trusted or not', async () => {
    const nobody = await connect(haraka, '10.1.1.9', '10.0.0.6:587')
    assert.equal((await nobody.mail('a@b.example')).line, '550 Authentication required')
    await nobody.quit()
    const carol = await as('carol', '10.1.1.9', '10.0.0.6:587')
    assert.equal((await carol.mail('a@b.example')).code, 250)
    await carol.quit()
  })

  for (const [account, trusted] of [
    ['guest', false],
    ['carol', true],
  ] as const) {
    test(`${account}, authenticated in the middle of a transaction, counts as always`, async () => {
      const smtp = await connect(haraka, '10.1.2.1', '10.0.0.5:26')
      await smtp.mail('a@b.example')
      assert.equal((await smtp.rcpt(FOREIGN)).code, 550)
      assert.equal((await smtp.auth(account, PASSWORDS[account])).code, 235)
      assert.equal((await smtp.rcpt(FOREIGN)).code, trusted ? 250 : 550)
      assert.equal((await smtp.rcpt('alice@example.com')).code, 250)
      assert.equal((await smtp.data(MESSAGE)).code, 250)
      assert.equal(seen(haraka, 'data_post').at(-1), `10.1.2.1 ${trusted}`)
      await smtp.quit()

      const late = await connect(haraka, '10.1.2.2', '10.0.0.5:26')
      await late.transaction('a@b.example', ['alice@example.com'])
      assert.equal((await late.auth(account, PASSWORDS[account])).code, 235)
      assert.equal((await late.data(MESSAGE)).code, 250)
      assert.equal(seen(haraka, 'data_post').at(-1), `10.1.2.2 ${trusted}`)
      await late.quit()
    })
  }
})

describe('another plugin that sets relaying', () => {
  const everywhere = `
const hooks = ['connect_init', 'lookup_rdns', 'connect', 'ehlo', 'mail', 'rcpt', 'rcpt_ok', 'data', 'data_post']
exports.register = function () {
  for (const hook of hooks) this.register_hook(hook, 'open')
}
exports.open = (next, connection) => {
  connection.relaying = true
  next()
}
`
  const cases: Record<string, HarakaOptions> = {
    'in every hook, listed first': {
      plugins: ['opens', 'gal-relay', 'test-queue'],
      files: { 'plugins/opens.js': everywhere },
    },
    'in every hook, listed last': {
      plugins: ['gal-relay', 'test-queue', 'opens'],
      files: { 'plugins/opens.js': everywhere },
    },
    'relay with an ACL': {
      plugins: ['relay', 'gal-relay', 'test-queue'],
      files: { 'config/relay_acl_allow': '0.0.0.0/0\n' },
    },
  }
  for (const [name, options] of Object.entries(cases)) {
    test(`opens no relay and misroutes no mail: ${name}`, async () => {
      const haraka = await start('', options)
      try {
        const smtp = await connect(haraka, '203.0.113.9')
        assert.equal(await rcpt(smtp, FOREIGN), '550 5.7.1')
        assert.equal(await rcpt(smtp, 'alice%elsewhere.example@example.com'), '550 5.7.1')
        assert.equal(await rcpt(smtp, 'nobody@example.com'), '550 5.1.1')
        const to = ['alice@example.com', FOREIGN, 'friend@partner.example', 'nobody@example.com']
        const { rcpt: replies, data } = await smtp.transaction('a@b.example', to, MESSAGE)
        assert.deepEqual(
          [...replies.map(({ code }) => code), data?.code],
          [250, 550, 250, 550, 250],
        )
        assert.deepEqual(
          haraka.delivered().map(({ rcpt_to }) => rcpt_to),
          [['alice@example.com']],
        )
        assert.deepEqual(
          haraka.outboundMessages().map(({ rcpt_to }) => rcpt_to),
          [['friend@partner.example']],
        )
        await smtp.quit()
      } finally {
        await haraka.stop()
      }
    })
  }
})

describe('a plugin that overrides refusals', () => {
  const besideForgiving = sharedHaraka({
    plugins: ['forgives', 'gal-relay', 'rcpt_to.in_host_list', 'test-queue'],
    files: { 'plugins/forgives.js': 'exports.hook_deny = (next) => next(OK)\n' },
  })
  after(() => besideForgiving.stop())

  for (const [name, shared] of [
    ['delay_deny', besideDelayDeny],
    ['one with a deny hook of its own', besideForgiving],
  ] as const) {
    test(`finds that an answer to a recipient is final: ${name}`, async () => {
      let isStopped = false
      const ownDirectory = await startEmbeddedLdap(['alice@example.com'])
      const ini = iniOf('[restrictions]\nhosts[] = 10.1.0.0/16\n', ownDirectory)
      const use = async (haraka: Haraka) => {
        const stranger = await connect(haraka, '203.0.113.9')
        const trusted = await connect(haraka, '10.1.0.1')
        assert.equal(await rcpt(stranger, FOREIGN), '550 5.7.1')
        for (const smtp of [stranger, trusted]) {
          assert.equal(await rcpt(smtp, 'alice@example.com'), '250 recip')
          assert.equal(await rcpt(smtp, 'nobody@example.com'), '550 5.1.1')
        }
        await ownDirectory.stop()
        isStopped = true
        for (const smtp of [stranger, trusted]) {
          assert.equal(await rcpt(smtp, 'other@example.com'), '451 4.4.3')
          await smtp.quit()
        }
      }
      try {
        await shared.with(ini, ['example.com'], use)
      } finally {
        if (!isStopped) await ownDirectory.stop()
      }
    })
  }
})

describe('the address', () => {
  test('is what the PROXY line says, from the connect stage on', async () => {
    const ini = iniOf('[restrictions]\nhosts[] = 10.1.0.0/16\nlocal_addresses[] = 10.0.0.8\n')
    await besideSeen.with(ini, undefined, async (haraka) => {
      for (const [client, local, trusted] of [
        ['10.1.0.1', '10.0.0.5:25', true],
        ['10.2.0.1', '10.0.0.5:25', false],
        ['10.2.0.2', '10.0.0.8:25', true],
        ['::ffff:10.1.0.2', '[2001:db8::5]:25', true],
        ['127.0.0.1', '10.0.0.5:25', false],
      ] as const) {
        const smtp = await connect(haraka, client, local)
        assert.equal(await rcpt(smtp, FOREIGN), trusted ? '250 recip' : '550 5.7.1', client)
        await smtp.quit()
        assert.equal(seen(haraka, 'connect').at(-1)?.split(' ')[1], String(trusted), client)
      }
    })
  })

  test('is not what the client says in a PROXY line of its own', async () => {
    const trusted = '10.1.0.1'
    const ini = '[restrictions]\nhosts[] = 10.1.0.0/16\n[listener 10.0.0.9:25]\nenabled = false\n'
    await besideDelayDeny.with(iniOf(ini), ['example.com'], async (haraka) => {
      for (const [before, after] of [
        ['10.0.0.5:25', '10.0.0.5 4 25'],
        ['10.0.0.5:25', '10.0.0.9 4 25'],
        ['10.0.0.9:25', '10.0.0.5 4 25'],
      ] as const) {
        for (const commands of [[], ['MAIL FROM:<a@b.example>', 'RCPT TO:<alice@example.com>']]) {
          const smtp = await connect(haraka, '203.0.113.9', before)
          for (const command of commands) await smtp.command(command)
          const { line } = await smtp.command(`PROXY TCP4 ${trusted} ${after}`)
          assert.equal(line, '554 PROXY is allowed on the first line only', `${before} to ${after}`)
          await assert.rejects(smtp.ehlo(), /closed the connection|ECONNRESET|EPIPE/)
        }
      }
    })
  })

  test('is what XCLIENT says, once it has been sent', async () => {
    const port = await freePort()
    const haraka = await start(
      `[restrictions]
hosts[] = 127.0.0.1
hosts[] = 10.1.0.0/16
[listener *:587]
authenticated = true
[listener *:${port}]
authenticated = true
`,
      { plugins: ['xclient', 'gal-relay', 'test-queue', 'seen'], proxy: false, ports: [port] },
    )
    try {
      const cases = [
        { xclient: 'ADDR=10.1.2.3 NAME=inside.test', trusted: true },
        { xclient: 'ADDR=10.1.2.4', trusted: true },
        { xclient: 'ADDR=203.0.113.9 NAME=outside.test', trusted: false },
        { xclient: 'ADDR=IPV6:2001:db8::9 NAME=outside.test', trusted: false },
        { xclient: 'ADDR=IPV6:::ffff:10.1.2.5 NAME=inside.test', trusted: true },
        { xclient: 'ADDR=203.0.113.9 NAME=outside.test LOGIN=carol', trusted: true },
        { xclient: 'ADDR=203.0.113.9 NAME=outside.test LOGIN=guest', trusted: false },
        {
          xclient: 'ADDR=203.0.113.9 NAME=outside.test LOGIN=carol DESTADDR=10.0.0.5 DESTPORT=25',
          trusted: false,
        },
        {
          xclient: 'ADDR=203.0.113.9 NAME=outside.test LOGIN=carol DESTADDR=10.0.0.5 DESTPORT=587',
          trusted: true,
        },
      ]
      for (const { xclient, trusted } of cases) {
        const smtp = await connectSmtp({ port: haraka.port })
        await smtp.ehlo()
        assert.equal((await smtp.auth('carol', PASSWORDS.carol)).code, 235)
        assert.equal(await rcpt(smtp, FOREIGN), '250 recip')
        assert.equal((await smtp.command(`XCLIENT ${xclient}`)).code, 220, xclient)
        await smtp.ehlo()
        assert.equal(await rcpt(smtp, FOREIGN), trusted ? '250 recip' : '550 5.7.1', xclient)
        await smtp.quit()
      }
    } finally {
      await haraka.stop()
    }
  })
})
