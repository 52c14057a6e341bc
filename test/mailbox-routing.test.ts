// The pages of docs/ on mail that goes where the directory says, and on several companies. The whole
// configuration of each page runs with directories of its kind, and each recipient goes to the server and
// address in the page's table.
import assert from 'node:assert/strict'
import { readdirSync, readFileSync, rmSync } from 'node:fs'
import path from 'node:path'
import { after, describe, test } from 'node:test'
import type { Explanation } from '../plugins/gal-relay/advice/explain'
import type { QueueNote } from '../plugins/gal-relay/delivery/queue-note'
import { type Certificate, type CertificateAuthority, makeAuthority } from './support/certificates'
import { loadCommand } from './support/command'
import { blocksOf, isWhole, type Replacements, readPage, real, wholeOf } from './support/docs'
import { skipWithoutDs389, startDs389 } from './support/ds389'
import type { Haraka } from './support/haraka'
import * as layouts from './support/layouts'
import { skipWithout } from './support/programs'
import { skipWithoutSamba, startSamba } from './support/samba'
import { sharedHaraka } from './support/shared-haraka'
import { type SlapdEntry, startSlapd, unitEntry } from './support/slapd'
import { connectSmtp } from './support/smtp'
import { until } from './support/until'

const { runJson } = loadCommand()

const shared = sharedHaraka({})
after(() => shared.stop())

/** The authority of the servers of nearly all pages, made when it is first needed. */
let authority: CertificateAuthority | undefined
let certificate: Certificate | undefined
function ours() {
  authority ??= makeAuthority()
  certificate ??= authority.issue()
  return { authority, certificate }
}
after(() => authority?.remove())

const PASSWORD = 'Pa55-word!'

/** A row of a page's table. */
interface Row {
  readonly address: string
  /** undefined if the recipient is unknown */
  readonly leavesAs: string | undefined
  /** A next hop as the page writes it, `queue plugins`, `MX hosts` or `unknown`. */
  readonly to: string
}

function tableOf(page: string): Row[] {
  const rows = readPage(`docs/${page}`).matchAll(
    /^\| `(\S+@\S+)` \|[^|]*\| (?:`(\S+@\S+)`)? ?\| (?:`(\S+)`|(queue plugins|MX hosts|unknown)) \|$/gm,
  )
  const table = [...rows].map(([, address = '', leavesAs, hop, word = '']): Row => {
    return { address, leavesAs, to: hop ?? word }
  })
  assert.ok(table.length > 6 && table.some(({ to }) => to === 'unknown'), page)
  return table
}

/**
 * @param replacements the directories of the test in place of the page's
 * @param mode of all directories
 */
function iniOf(page: string, replacements: Replacements, mode: 'live' | 'snapshot'): string {
  const [routing] = blocksOf(`docs/${page}`).filter(
    ({ language, text }) => language === 'ini' && !isWhole({ text }) && /_attribute = /.test(text),
  )
  // A page whose whole configuration leaves routing to others shows the lines for routing separately.
  const whole = wholeOf(page).replace('[gal]\n', routing?.text ?? '[gal]\n')
  return real(whole, replacements).replace('[gal]\n', `[gal]\nmode = ${mode}\n`)
}

async function routes(haraka: Haraka, page: string): Promise<void> {
  for (const folder of ['delivered', 'queue']) {
    for (const file of readdirSync(path.join(haraka.dir, folder))) {
      rmSync(path.join(haraka.dir, folder, file))
    }
  }
  const table = tableOf(page)
  // The servers are being connected to for the first time.
  const isWell = async () => (await send(haraka, table)).every((line) => !line.startsWith('4'))
  await until(isWell, haraka.log)
  const replies = await send(haraka, table, 'Subject: x\r\n\r\nx\r\n')
  for (const [index, { address, leavesAs }] of table.entries()) {
    const expected = leavesAs === undefined ? /^550 5\.1\.1/ : /^250/
    assert.match(replies[index] ?? '', expected, `${address}\n${haraka.log()}`)
  }
  assert.deepEqual(taken(haraka), expectedOf(table), haraka.log())
  await explains(haraka, table)
}

/** The copies as `<hop> <address>`. Two addresses of one mailbox get one copy. */
function expectedOf(table: readonly Row[]): string[] {
  const all = table.flatMap(({ leavesAs, to }) => (leavesAs ? `${to} ${leavesAs}` : []))
  return [...new Set(all)].sort()
}

/** The same for what the queue plugin has taken and what waits in the outbound queue. */
function taken(haraka: Haraka): string[] {
  const queued = haraka.delivered().flatMap(({ rcpt_to }) => rcpt_to)
  const waiting = haraka.outboundMessages().flatMap(({ rcpt_to, domain, notes }) => {
    const { routes } = notes.gal_relay as QueueNote
    const [, route] = routes.find(([name]) => name === domain) ?? []
    const [hop] = route?.hops ?? []
    return rcpt_to.map((address) => `${withoutPort(hop?.url ?? 'MX hosts')} ${address}`)
  })
  return [...queued.map((address) => `queue plugins ${address}`), ...waiting].sort()
}

const withoutPort = (hop: string) => hop.replace(/:25$/, '')

/** @returns the reply to each recipient of one transaction */
async function send(haraka: Haraka, table: readonly Row[], message?: string): Promise<string[]> {
  const proxy = { client: '203.0.113.9', local: '10.0.0.5:25' }
  const smtp = await connectSmtp({ port: haraka.port, proxy })
  try {
    await smtp.ehlo()
    const to = table.map(({ address }) => address)
    const { rcpt, data } = await smtp.transaction('a@sender.example', to, message)
    if (message) assert.equal(data?.code, 250, haraka.log())
    return rcpt.map(({ line }) => line)
  } finally {
    await smtp.quit()
  }
}

async function explains(haraka: Haraka, table: readonly Row[]): Promise<void> {
  const { json } = await runJson<{ recipients: readonly Explanation[] }>([
    ...['explain', '--config', haraka.dir, '--client', '203.0.113.9', '--listener', '10.0.0.5:25'],
    ...table.map(({ address }) => address),
  ])
  for (const [index, { address, leavesAs, to }] of table.entries()) {
    const { code, delivered_as, next_hops } = json.recipients[index] ?? assert.fail(address)
    assert.equal(code, leavesAs === undefined ? 550 : 250, address)
    assert.equal(delivered_as ?? undefined, leavesAs, address)
    const [hop] = next_hops.map(withoutPort)
    assert.equal(hop, to.startsWith('smtp:') ? to : undefined, address)
  }
}

/** Live, and with the list in memory. */
async function routesBothWays(
  page: string,
  replacements: Replacements,
  files: Readonly<Record<string, string>>,
): Promise<void> {
  await shared.with(
    iniOf(page, replacements, 'live'),
    undefined,
    (haraka) => routes(haraka, page),
    files,
  )
  const ini = iniOf(page, replacements, 'snapshot')
  const directories = 1 + (ini.match(/^\[directory /gm)?.length ?? 0)
  await shared.with(ini, undefined, async (haraka) => {
    const inForce = () => haraka.logLines(/the list is in force/).length
    await until(() => inForce() >= directories, haraka.log)
    await routes(haraka, page)
  })
}

const account = (dn: string): SlapdEntry => ({
  dn,
  objectClass: ['organizationalRole', 'simpleSecurityObject'],
  userPassword: PASSWORD,
  sn: undefined,
})

/** The entries in the table of mailbox-servers.md. */
function mailboxes(): [name: string, attributes: Record<string, string>][] {
  const rows = readPage('docs/mailbox-servers.md').matchAll(
    /^\| `(\w+)@example\.com` \| ([^|]*) \|/gm,
  )
  return [...rows]
    .filter(([, , entry]) => entry !== "nobody's")
    .map(([, name = '', entry = '']) => {
      const attributes = entry.matchAll(/`(\w+): (\S+)`/g)
      const own = Array.from(attributes, ([, type = '', value = '']) => [type, value] as const)
      return [name, { mail: `${name}@example.com`, ...Object.fromEntries(own) }]
    })
}

describe('hybrid-exchange.md', { skip: skipWithoutSamba() }, () => {
  test('with Active Directory (Samba), whose schema has the attributes of Exchange', async () => {
    const samba = await startSamba()
    try {
      await samba.extendSchema()
      const server = (name: string) =>
        `/o=Corp/ou=Exchange Administrative Group (FYDIBOHF23SPDLT)/cn=Configuration/cn=Servers/cn=${name}`
      const user = (name: string, attributes: Record<string, string | string[]>) => ({
        dn: `CN=${name},CN=Users,${samba.base}`,
        attributes: { objectClass: 'user', sAMAccountName: name, ...attributes },
      })
      await samba.add(
        user('alice', {
          proxyAddresses: 'SMTP:alice@example.com',
          msExchHomeServerName: server('EX01'),
        }),
        user('bob', {
          proxyAddresses: ['SMTP:bob@example.com', 'smtp:robert@example.com'],
          msExchHomeServerName: server('ex02'),
        }),
        user('carol', {
          proxyAddresses: [
            'SMTP:carol@example.com',
            'smtp:c.cole@example.com',
            'smtp:carol@tenant.mail.onmicrosoft.com',
          ],
          targetAddress: 'SMTP:carol@tenant.mail.onmicrosoft.com',
        }),
        {
          dn: `CN=team,CN=Users,${samba.base}`,
          attributes: { objectClass: 'group', proxyAddresses: 'SMTP:team@example.com' },
        },
      )
      const bindName = await samba.addAccount('haraka', PASSWORD)
      await routesBothWays(
        'hybrid-exchange.md',
        [
          ['dc1.corp.example', samba.host],
          ['dc2.corp.example', '127.0.0.2'],
          ['base = dc=corp,dc=example', `base = ${samba.base}`],
          ['haraka@corp.example', bindName],
        ],
        {
          'config/gal_relay.password': `${PASSWORD}\n`,
          'config/corp-ca.pem': readFileSync(samba.ca, 'utf8'),
        },
      )
    } finally {
      await samba.stop()
    }
  })
})

describe('mailbox-servers.md', () => {
  const openldap = skipWithout('slapd', 'slapadd', 'openssl')
  test('with OpenLDAP', { skip: openldap }, async () => {
    const base = 'dc=corp,dc=example'
    const slapd = await startSlapd({
      suffix: base,
      tls: ours().certificate,
      entries: [
        unitEntry(`ou=services,${base}`),
        account(`cn=haraka,ou=services,${base}`),
        ...mailboxes().map(([name, attributes]) => ({
          dn: `uid=${name},${base}`,
          ...attributes,
        })),
      ],
    })
    try {
      await routesBothWays('mailbox-servers.md', [['ldap://ldap1.corp.example', slapd.url]], {
        'config/gal_relay.password': `${PASSWORD}\n`,
        'config/corp-ca.pem': readFileSync(ours().authority.ca, 'utf8'),
      })
    } finally {
      await slapd.stop()
    }
  })

  test('with 389 Directory Server', { skip: skipWithoutDs389() }, async () => {
    const base = 'dc=corp,dc=test'
    const ds = await startDs389({
      entries: mailboxes().map(([name, attributes]) => ({
        dn: `uid=${name},${base}`,
        attributes: {
          objectClass: ['inetOrgPerson', 'mailRecipient'],
          ...{ uid: name, cn: name, sn: name },
          ...attributes,
        },
      })),
    })
    try {
      await routesBothWays(
        'mailbox-servers.md',
        [
          ['ldap://ldap1.corp.example', ds.url],
          // This server has no TLS.
          ['starttls = true\ntls_ca = corp-ca.pem\n', ''],
          ['bind_dn = cn=haraka,ou=services,dc=corp,dc=example', `bind_dn = ${ds.bindDn}`],
          ['base = dc=corp,dc=example', `base = ${ds.base}`],
        ],
        { 'config/gal_relay.password': `${ds.password}\n` },
      )
    } finally {
      await ds.stop()
    }
  })
})

describe('several-companies.md', {
  skip: skipWithout('slapd', 'slapadd', 'openssl'),
}, () => {
  test('with two OpenLDAP servers that know nothing of each other', async () => {
    const [alpha, beta] = [ours().authority, makeAuthority()]
    const person = (base: string, ...addresses: string[]) =>
      addresses.map((address) => ({
        dn: `uid=${address.replace('@', '-')},${base}`,
        mail: address,
        proxyAddresses: `SMTP:${address}`,
      }))
    const company = (name: string, authority: CertificateAuthority, addresses: string[]) => {
      const suffix = `dc=${name},dc=example`
      const entries = [account(`cn=haraka,${suffix}`), ...person(suffix, ...addresses)]
      return startSlapd({ suffix, tls: authority.issue(), entries })
    }
    const slapds = await Promise.all([
      company('alpha', alpha, ['alice@alpha.example', 'stray@beta.example']),
      company('beta', beta, [
        'bob@beta.example',
        'bob@hr.beta.example',
        'bob@beta-shop.example',
        'nobody@alpha.example',
      ]),
    ])
    try {
      const urls = ['ldap://dc1.alpha.example', 'ldap://ldap1.beta.example']
      await routesBothWays(
        'several-companies.md',
        urls.map((url, index) => [url, slapds[index]?.url ?? ''] as const),
        {
          'config/alpha.password': `${PASSWORD}\n`,
          'config/beta.password': `${PASSWORD}\n`,
          'config/alpha-ca.pem': readFileSync(alpha.ca, 'utf8'),
          'config/beta-ca.pem': readFileSync(beta.ca, 'utf8'),
        },
      )
    } finally {
      for (const slapd of slapds) await slapd.stop()
      beta.remove()
    }
  })
})

describe('layouts that name servers', { skip: skipWithout('slapd', 'slapadd', 'openssl') }, () => {
  const base = 'dc=corp,dc=example'
  for (const { page, options, urls } of [
    {
      page: 'sendmail.md',
      options: layouts.sendmail(base),
      urls: ['ldap://ldap1.corp.example', 'ldap://ldap2.corp.example'],
    },
    {
      page: 'univention.md',
      options: layouts.univention(base),
      urls: ['ldap://ucs1.corp.example:7389', 'ldap://ucs2.corp.example:7389'],
    },
  ]) {
    test(page, async () => {
      const slapd = await startSlapd({ suffix: base, tls: ours().certificate, ...options })
      const [, ca = ''] = /^tls_ca = (.*)$/m.exec(wholeOf(page)) ?? []
      const [first = '', second = ''] = urls
      try {
        await routesBothWays(
          page,
          [
            [`${first}\n`, `${slapd.url}\n`],
            [`${second}\n`, 'ldap://127.0.0.1:1\n'],
          ],
          {
            'config/gal_relay.password': `${PASSWORD}\n`,
            [`config/${ca}`]: readFileSync(ours().authority.ca, 'utf8'),
          },
        )
      } finally {
        await slapd.stop()
      }
    })
  }
})
