// gal-relay replay: decided again by the same settings, the log of a real Haraka shows no difference; by
// other settings it shows exactly the differences that they make.
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, before, describe, test } from 'node:test'
import { gzipSync } from 'node:zlib'
import type { ReplayResult } from '../../plugins/gal-relay/advice/replay'
import { loadCommand } from '../support/command'
import { type Haraka, startHaraka, writeInstall } from '../support/haraka'
import { freePort } from '../support/ports'
import { skipWithoutPostfix, startPostfix } from '../support/postfix'
import { skipWithout } from '../support/programs'
import { type Slapd, startSlapd } from '../support/slapd'
import { connectSmtp, type SmtpClient } from '../support/smtp'

const { runCommand, runJson } = loadCommand()

const numbers = (count: number) => Array.from({ length: count }, (_, i) => i)
const KNOWN = numbers(25).map((i) => `user${i}@example.com`)
const UNKNOWN = numbers(15).map((i) => `nobody${i}@example.com`)
const PARTNER = numbers(7).map((i) => `friend${i}@partner.example`)
const ALL = [
  ...KNOWN,
  ...UNKNOWN,
  ...PARTNER,
  ...numbers(8).map((i) => `friend${i}@elsewhere.example`),
  ...numbers(3).map((i) => `user${i}@old.example`),
  ...['anyone@shared.example', 'shared@shared.example', 'info@Example.COM', 'USER1@EXAMPLE.com'],
  ...['staff@example.com', 'left@example.com', 'moved@example.com', 'postmaster', 'a=b@b.example'],
  ...['friend%elsewhere.example@example.com', 'a!b@partner.example', '"jo doe"@example.com'],
  ...['postmaster@example.com', 'user@[192.0.2.7]'],
  ...['user1@down.example', 'user2@down.example'],
]
const ROWS = `example.com = inbound
down.example = inbound
shared.example = shared smtp://192.0.2.1
partner.example = always-relay
old.example = reroute example.com
left@example.com = refuse
moved@example.com = reroute user1@example.com`
const CLIENTS = [
  { client: '203.0.113.9', local: '10.0.0.5:25' },
  { client: '10.1.0.1', local: '10.0.0.5:25' },
  { client: '10.1.6.6', local: '10.0.0.5:25' },
  { client: '2001:db8::9', local: '[2001:db8::5]:25' },
  { client: '203.0.113.8', local: '10.0.0.5:27' },
  { client: '192.168.7.7', local: '10.0.0.5:25', auth: 'carol' },
]

const skip = skipWithout('slapd', 'slapadd')

describe('gal-relay replay', { skip }, () => {
  let slapd: Slapd
  let nowhere: number
  let folder: string
  let haraka: Haraka
  before(async () => {
    slapd = await startSlapd({
      entries: [
        ...KNOWN,
        ...['jo doe@example.com', 'shared@shared.example', 'left@example.com'],
        { mail: 'staff@example.com', msExchRequireAuthToSendTo: 'TRUE' },
      ],
    })
    nowhere = await freePort()
    folder = mkdtempSync(path.join(tmpdir(), 'replay-'))
    haraka = await startHaraka({ ini: iniOf(ROWS), auth: { carol: 'carol-secret' } })
  })
  after(async () => {
    await haraka?.stop()
    await slapd?.stop()
    rmSync(folder, { recursive: true, force: true })
  })

  const iniOf = (rows: string) => `[routes]
${rows}
[restrictions]
hosts[] = 10.1.0.0/16
never[] = 10.1.6.6
authenticated = true
[listener *:27]
reroute = false
[ldap]
url[] = ${slapd.url}
base = ${slapd.base}
retry_after = 1s to 2s
[directory DOWN]
domains[] = down.example
url[] = ldap://127.0.0.1:${nowhere}
base = dc=down
`

  function install(name: string, ini: string): string {
    const dir = path.join(folder, name)
    writeInstall(dir, [25], { ini })
    return dir
  }

  const logs = new Map<string, Promise<string>>()
  /** What Haraka logs of the same mail, with these lines of log.ini. */
  function logOf(logIni: string): Promise<string> {
    const log = logs.get(logIni) ?? logged(logIni)
    logs.set(logIni, log)
    return log
  }

  async function logged(logIni: string): Promise<string> {
    haraka.writeConfig('log.ini', `[main]\n${logIni}`)
    await haraka.reload(iniOf(ROWS))
    // Lines before this one may have been logged as the log.ini before says.
    const from = haraka.log().length
    for (const { client, local, auth } of CLIENTS) {
      const smtp = await connectSmtp({ port: haraka.port, proxy: { client, local } })
      await smtp.ehlo()
      if (auth) assert.equal((await smtp.auth(auth, 'carol-secret')).code, 235)
      // Each transaction has some recipients that are refused.
      for (const start of [0, 20, 40, 60])
        await send(smtp, ['nobody@example.com', ...ALL.slice(start, start + 20)])
      await smtp.quit()
    }
    await haraka.waitForLog(/disconnect.*192\.168\.7\.7/, undefined, from)
    return haraka.log().slice(from)
  }

  async function send(smtp: SmtpClient, recipients: readonly string[]): Promise<void> {
    const { mail } = await smtp.transaction('news@shop.example', recipients, 'Subject: x\r\n\r\nx')
    assert.equal(mail.code, 250)
  }

  function write(name: string, text: string | Uint8Array): string {
    const file = path.join(folder, name)
    writeFileSync(file, text)
    return file
  }

  const replay = (dir: string, ...args: string[]) =>
    runJson<ReplayResult>(['replay', '--config', dir, '--limit', '1000', ...args])

  const TOTAL = CLIENTS.length * (ALL.length + 4)
  const DOWN = CLIENTS.length * 2

  const formats = { default: '\\[NOTICE\\] ', logfmt: 'level=NOTICE ', json: '\\{"level":"NOTICE"' }
  for (const [format, begin] of Object.entries(formats)) {
    for (const level of ['notice', 'info']) {
      test(`a log in format ${format} at level ${level}`, async () => {
        const log = await logOf(
          `level=${level}\nformat=${format}\ntimestamps=${level === 'info'}\n`,
        )
        assert.match(log, new RegExp(`^${level === 'info' ? '20\\S+Z ' : ''}${begin}`, 'm'))
        assert.equal(/\bINFO\b/.test(log), level === 'info')
        const file = write(`${format}-${level}.log`, log)
        const same = install('same', iniOf(ROWS))
        const { code, json } = await replay(same, file)
        assert.deepEqual(json.list, [])
        assert.equal(code, 0)
        assert.equal(json.recipients, TOTAL)
        assert.equal(json.differences, 0)
        assert.equal(json.not_compared.deferred, DOWN)
        assert.equal(json.compared, TOTAL - DOWN)

        // Without the row its recipients are foreign, and only clients that may relay still reach them.
        const rows = ROWS.replace('partner.example = always-relay\n', '')
        const changed = await replay(install('changed', iniOf(rows)), file)
        const strangers = CLIENTS.filter(({ client }) => !/^10\.1\.0\.1|^192/.test(client))
        const expected = strangers
          .filter(({ local }) => !local.endsWith(':27'))
          .flatMap(({ client }) => PARTNER.map((recipient) => `${client} ${recipient} accepted`))
        const found = changed.json.list.map(
          ({ client, recipient, was }) => `${client} ${recipient} ${was}`,
        )
        assert.deepEqual(found.sort(), expected.sort())
        assert.equal(changed.code, 1)
        assert.equal(changed.json.differences, expected.length)
        assert.deepEqual(changed.json.by_domain, [
          { domain: 'partner.example', count: expected.length },
        ])
        if (level === 'info')
          assert.ok(changed.json.list.every(({ at }) => at !== undefined && at !== null))
      })
    }
  }

  test('a log packed by gzip, in two parts', async () => {
    const log = await logOf('level=notice\nformat=default\n')
    const middle = log.indexOf('\n', log.length / 2) + 1
    const parts = [
      write('one.log', log.slice(0, middle)),
      write('two.log.gz', gzipSync(log.slice(middle))),
    ]
    const { json } = await replay(install('same', iniOf(ROWS)), ...parts)
    assert.equal(json.recipients, TOTAL)
    assert.deepEqual(json.list, [])
  })

  test('recipients that another plugin refuses are kept apart from those that no plugin accepts', async () => {
    const haraka = await startHaraka({
      plugins: ['denies', 'rcpt_to.in_host_list', 'test-queue'],
      hostList: ['example.com'],
      files: {
        'plugins/denies.js': `exports.register = function () { this.register_hook('rcpt', 'deny') }
exports.deny = (next, connection, [address]) => address.user === 'bad' ? next(DENY, 'no') : next()
`,
      },
    })
    const smtp = await connectSmtp({
      port: haraka.port,
      proxy: { client: '203.0.113.9', local: '10.0.0.5:25' },
    })
    await smtp.ehlo()
    await send(smtp, ['bad@example.com', 'user1@example.com', 'nobody@example.com', 'a@b.example'])
    await smtp.quit()
    await haraka.waitForLog(/disconnect/)
    const log = write('others.log', haraka.log())
    await haraka.stop()
    const { json } = await replay(install('same', iniOf(ROWS)), log)
    assert.deepEqual(json.not_compared.other_reasons, [{ reason: 'denies', count: 1 }])
    assert.equal(json.compared, 3)
    assert.deepEqual(
      json.list.map(({ recipient, was, is, rule }) => [recipient, was, is, rule]),
      [['nobody@example.com', 'accepted', 'refused', 'not-in-gal']],
    )
  })

  test('a directory that cannot be asked decides nothing', async () => {
    const log = write('down.log', await logOf('level=notice\nformat=default\n'))
    const down = iniOf(ROWS).replace(slapd.url, `ldap://127.0.0.1:${nowhere}`)
    const { code, json } = await replay(install('down', down), log)
    assert.equal(code, 1)
    assert.ok(json.undecided > 100, String(json.undecided))
    assert.deepEqual(json.list, [])
  })

  test('the list in memory answers as the directory does', async () => {
    const log = write('list.log', await logOf('level=notice\nformat=default\n'))
    const ini = `${iniOf(ROWS)}[gal]\nmode = snapshot\n[snapshot]\nfile = ${folder}/list.snapshot\n`
    const dir = install('list', ini.replace('[directory DOWN]', '[directory DOWN]\nmode = live'))
    const synced = await runCommand(['sync', '--config', dir])
    assert.equal(synced.code, 0, synced.stderr)
    const { json } = await replay(dir, log)
    assert.deepEqual(json.list, [])
    assert.equal(json.compared, TOTAL - DOWN)
  })

  test('the list in memory knows where mail goes, too, and no directory is asked', async () => {
    const log = write('mailboxes.log', await logOf('level=notice\nformat=default\n'))
    const gal = `[gal]\nmode = snapshot\nhost_attribute = mailHost\n[snapshot]\nfile = ${folder}/mailboxes.snapshot\n`
    const ini = iniOf(ROWS).replace('[directory DOWN]', '[directory DOWN]\nmode = live') + gal
    const synced = await runCommand(['sync', '--config', install('mailboxes', ini)])
    assert.equal(synced.code, 0, synced.stderr)
    const away = ini.replace(slapd.url, `ldap://127.0.0.1:${nowhere}`)
    const { json } = await replay(install('mailboxes', away), log)
    assert.deepEqual(json.list, [])
    assert.equal(json.compared, TOTAL - DOWN)
  })

  test('a real Postfix’s maillog', { skip: skipWithoutPostfix() }, async () => {
    const postfix = await startPostfix({
      settings: [
        'smtpd_authorized_xclient_hosts = 127.0.0.0/8',
        'smtpd_error_sleep_time = 0s',
        'smtpd_soft_error_limit = 100000',
        'smtpd_hard_error_limit = 100000',
        'mynetworks = 10.1.0.0/16',
        'smtpd_relay_restrictions = permit_mynetworks, reject_unauth_destination',
        'mydestination =',
        'relay_domains =',
        'virtual_mailbox_domains = example.com, elsewhere.test',
        `virtual_mailbox_maps = inline:{ ${['user1', 'user2', 'gone'].map((name) => `{${name}@example.com = x}`).join(' ')} }`,
        'default_transport = virtual',
      ],
    })
    try {
      for (const client of ['203.0.113.9', '10.1.0.1']) {
        const smtp = await connectSmtp({ port: postfix.port })
        await smtp.ehlo()
        await smtp.command(`XCLIENT ADDR=${client} NAME=[UNAVAILABLE]`)
        await smtp.ehlo()
        await send(smtp, [
          ...['nobody@example.com', 'user1@example.com', 'friend@elsewhere.example'],
          ...['gone@example.com', 'user2@example.com', 'nobody2@example.com'],
        ])
        await smtp.quit()
      }
      await untilEmpty(() => postfix.queue())
      const log = write('mail.log', postfix.log())
      const { code, json } = await replay(install('same', iniOf(ROWS)), log)
      assert.equal(json.recipients, 12, postfix.log())
      assert.deepEqual(
        json.list.map(({ client, recipient, was, rule }) => [client, recipient, was, rule]).sort(),
        [
          ['10.1.0.1', 'gone@example.com', 'accepted', 'not-in-gal'],
          ['203.0.113.9', 'gone@example.com', 'accepted', 'not-in-gal'],
        ],
      )
      assert.equal(code, 1)
    } finally {
      await postfix.stop()
    }
  })

  test('Exchange’s message tracking', async () => {
    const log = write(
      'MSGTRK2026112801-1.LOG',
      `\ufeff#Software: Microsoft Exchange Server\r
#Version: 15.01.2507.006\r
#Log-type: Message Tracking Log\r
#Date: 2026-11-28T00:00:00.000Z\r
#Fields: date-time,client-ip,client-hostname,server-ip,server-hostname,source-context,connector-id,source,event-id,internal-message-id,message-id,recipient-address,recipient-status,total-bytes,recipient-count,sender-address,message-subject\r
2026-11-28T08:00:00.000Z,203.0.113.9,mx.shop.example,10.0.0.5,EX01,08D1,EX01\\Default,SMTP,RECEIVE,1001,<1@shop.example>,user1@example.com;gone@example.com,,1000,2,news@shop.example,"Hello, ""you"""\r
2026-11-28T08:00:01.000Z,10.0.0.5,EX01,,EX01,,,STOREDRIVER,DELIVER,1001,<1@shop.example>,user1@example.com,,1000,1,news@shop.example,x\r
2026-11-28T08:00:02.000Z,,,,EX01,,,SMTP,FAIL,1001,<1@shop.example>,gone@example.com,550 5.1.1 gone,1000,1,news@shop.example,x\r
2026-11-28T08:00:03.000Z,203.0.113.9,,10.0.0.5,EX01,,,SMTP,FAIL,1002,<2@shop.example>,user2@example.com;nobody@example.com,550 5.1.1 User unknown;550 5.1.1 User unknown,0,2,news@shop.example,x\r
2026-11-28T08:00:04.000Z,10.1.0.1,,10.0.0.5,EX01,,,SMTP,RECEIVE,1003,<3@shop.example>,friend@elsewhere.example,,1,1,<>,x\r
`,
    )
    const { json } = await replay(install('same', iniOf(ROWS)), log)
    assert.equal(json.recipients, 5)
    assert.deepEqual(
      json.list.map(({ at, recipient, was, is }) => [at, recipient, was, is]),
      [
        ['2026-11-28T08:00:00.000Z', 'gone@example.com', 'accepted', 'refused'],
        ['2026-11-28T08:00:03.000Z', 'user2@example.com', 'refused', 'accepted'],
      ],
    )
  })

  test('a file that is missing or is no log ends with one sentence and exit code 2', async () => {
    const dir = install('same', iniOf(ROWS))
    for (const [args, sentence] of [
      [['/no/such.log'], /^there is no file \/no\/such\.log$/m],
      [[folder], /is a folder; name the files in it$/m],
      [[write('text.log', 'nothing of a log\n')], /is no log of a kind that is known/],
      [
        [write('broken.gz', gzipSync('x'.repeat(1000)).subarray(0, 20))],
        /cannot be read: unexpected end/,
      ],
      [[write('empty.log', '')], /there are no recipients in/],
      [['--limit', 'many', folder], /whole number/],
      [[], /missing required argument/],
    ] as const) {
      const { code, stdout, stderr } = await runCommand(['replay', '--config', dir, ...args])
      assert.match(stderr, sentence)
      assert.equal(code, 2, stderr)
      assert.equal(stdout, '')
    }
    const { code, stderr } = await runCommand(['replay', '--config', '/', '/etc/hostname'])
    assert.equal(code, 2)
    assert.match(stderr, /is not a Haraka install/)
  })
})

async function untilEmpty(queue: () => Promise<readonly string[]>): Promise<void> {
  for (let i = 0; i < 200 && (await queue()).length > 0; i++) {
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
}
