// A real Postfix, and beside it a real Haraka with what `gal-relay import` has made of its main.cf: both
// are asked for the same recipients by the same clients, of one directory.
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { test } from 'node:test'
import { loadCommand } from '../support/command'
import { startHaraka } from '../support/haraka'
import { skipWithoutPostfix, startPostfix } from '../support/postfix'
import { findProgram, skipWithout } from '../support/programs'
import { startSlapd } from '../support/slapd'
import { connectSmtp, type Reply, type SmtpClient } from '../support/smtp'

const { runCommand } = loadCommand()

const numbers = (count: number) => Array.from({ length: count }, (_, i) => i)
const KNOWN = [
  ...numbers(30).map((i) => `user${i}@example.com`),
  ...numbers(20).map((i) => `user${i}@sub.example.com`),
  ...numbers(25).map((i) => `user${i}@virtual.example`),
]
const RECIPIENTS = [
  ...KNOWN,
  ...numbers(30).map((i) => `nobody${i}@example.com`),
  ...numbers(20).map((i) => `nobody${i}@sub.example.com`),
  ...numbers(25).map((i) => `nobody${i}@virtual.example`),
  ...numbers(8).map((i) => `user${i}+tag@example.com`),
  ...numbers(4).map((i) => `nobody${i}+tag@example.com`),
  ...[
    'USER1@Example.COM',
    'alias@example.com',
    'user1@notexample.com',
    'user1@below.virtual.example',
  ],
  ...numbers(25).map((i) => `friend${i}@elsewhere.example`),
  ...numbers(5).map((i) => `friend${i}@partner.example`),
]
/** Refused from everybody; Postfix has another word for it where the client may relay. */
const ONWARD = [
  'friend%elsewhere.example@example.com',
  '"friend@elsewhere.example"@example.com',
  'friend%elsewhere.example@virtual.example',
]

const CLIENTS = ['203.0.113.9', '192.168.1.7', '192.168.1.66', '10.1.1.1']

const MAIN_CF = `
smtpd_authorized_xclient_hosts = 127.0.0.0/8
smtpd_error_sleep_time = 0s
smtpd_soft_error_limit = 100000
smtpd_hard_error_limit = 100000
smtpd_recipient_limit = 100000
smtpd_recipient_overshoot_limit = 100000
local_nets = 10.0.0.0/8
mynetworks = !192.168.1.66, 192.168.1.0/24
  # behind the network that has it: without effect
  $local_nets !10.1.1.1
  [2001:db8:1::]/48
mydestination =
relay_domains = example.com
virtual_mailbox_domains = virtual.example
relay_recipient_maps = proxy:ldap:FOLDER/relay.cf
virtual_mailbox_maps = ldap:FOLDER/virtual.cf
transport_maps = texthash:FOLDER/transport
recipient_delimiter = +
smtpd_relay_restrictions = permit_mynetworks, permit_sasl_authenticated, reject_unauth_destination
`

const hasLdap = () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'postconf-'))
  try {
    writeFileSync(path.join(folder, 'main.cf'), '')
    const tables = execFileSync(findProgram('postconf') ?? '', ['-c', folder, '-m'])
    return tables.toString().split('\n').includes('ldap')
  } finally {
    rmSync(folder, { recursive: true })
  }
}
const skip =
  skipWithoutPostfix() || skipWithout('slapd', 'slapadd') || (!hasLdap() && 'Postfix without LDAP')

test('a Haraka with the imported settings answers as the Postfix did', { skip }, async () => {
  const slapd = await startSlapd({
    entries: [
      ...KNOWN,
      {
        mail: 'primary@example.com',
        proxyAddresses: ['SMTP:primary@example.com', 'smtp:alias@example.com'],
      },
      // Of another class, which neither of them takes.
      {
        dn: 'cn=printer,dc=corp,dc=test',
        mail: 'printer@example.com',
        objectClass: ['device', 'galRecipient'],
        sn: undefined,
      },
    ],
  })
  const folder = mkdtempSync(path.join(tmpdir(), 'import-'))
  // Postfix's programs, which run as other users, read in it.
  chmodSync(folder, 0o755)
  const write = (name: string, text: string) => writeFileSync(path.join(folder, name), text)
  const map = (filter: string) => `server_host = ${slapd.url}
version = 3
search_base = ${slapd.base}
query_filter = ${filter}
result_attribute = mail
bind = yes
bind_dn = ${slapd.bindDn}
bind_pw = ${slapd.password}
`
  write('relay.cf', map('(&(objectClass=inetOrgPerson)(|(mail=%s)(proxyAddresses=smtp:%s)))'))
  write('virtual.cf', map('(&(objectClass=inetOrgPerson)(mail=%u@%d))'))
  write('transport', 'example.com relay:[127.0.0.1]:2525\npartner.example smtp:[127.0.0.1]:2526\n')
  const mainCf = MAIN_CF.replaceAll('FOLDER', folder)
  write('main.cf', mainCf)
  const { stdout: ini, stderr, code } = await runCommand(['import', path.join(folder, 'main.cf')])
  assert.equal(code, 1, stderr)
  assert.ok(!stderr.includes(slapd.password), stderr)
  const postfix = await startPostfix({ settings: mainCf.split('\n') })
  const haraka = await startHaraka({ ini }).catch(async (error: Error) => {
    await postfix.stop()
    throw error
  })
  try {
    for (const client of CLIENTS) {
      const theirs = await throughXclient(postfix.port, client)
      const ours = await connectSmtp({
        port: haraka.port,
        proxy: { client, local: '10.0.0.5:25' },
      })
      await ours.ehlo()
      const recipients = [...RECIPIENTS, ...ONWARD, 'printer@example.com']
      const [expected, actual] = [
        await answers(theirs, recipients),
        await answers(ours, recipients),
      ]
      for (const [recipient, was] of expected) {
        const is = actual.get(recipient)
        const isSame =
          is === was || (ONWARD.includes(recipient) && is !== 'accepted' && was !== 'accepted')
        assert.ok(isSame, `${recipient} from ${client}: Postfix ${was}, here ${is}`)
      }
      // Each of the three answers has been compared.
      const kinds = new Set(expected.values())
      assert.ok(kinds.has('accepted') && kinds.has('unknown'), [...kinds].join())
      assert.equal(kinds.has('relaying'), STRANGERS.has(client), client)
    }
  } finally {
    await haraka.stop()
    await postfix.stop()
    await slapd.stop()
    rmSync(folder, { recursive: true, force: true })
  }
})

const STRANGERS = new Set(['203.0.113.9', '192.168.1.66'])

async function throughXclient(port: number, client: string): Promise<SmtpClient> {
  const smtp = await connectSmtp({ port })
  await smtp.ehlo()
  assert.equal((await smtp.command(`XCLIENT ADDR=${client} NAME=[UNAVAILABLE]`)).code, 220, client)
  await smtp.ehlo()
  return smtp
}

/** The answer to each recipient, in one transaction that is given up. */
async function answers(
  smtp: SmtpClient,
  recipients: readonly string[],
): Promise<ReadonlyMap<string, string>> {
  const found = new Map<string, string>()
  assert.equal((await smtp.mail('news@shop.example')).code, 250)
  for (const recipient of recipients) found.set(recipient, meaning(await smtp.rcpt(recipient)))
  await smtp.quit()
  return found
}

/** Postfix refuses relaying with 554, and its text is another. */
function meaning({ code, enhanced, line }: Reply): string {
  if (code === 250) return 'accepted'
  if (code >= 550 && enhanced === '5.1.1') return 'unknown'
  return code >= 550 && enhanced === '5.7.1' ? 'relaying' : line
}
