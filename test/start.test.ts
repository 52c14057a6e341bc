// What a postmaster sees when Haraka starts: all problems of the settings, or who may relay, and warnings
// about settings that are probably not meant.
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { type EmbeddedLdap, startEmbeddedLdap } from './support/embedded-ldap'
import { type Haraka, type HarakaOptions, harakaStartFailure, startHaraka } from './support/haraka'
import { sharedHaraka } from './support/shared-haraka'
import { connectSmtp } from './support/smtp'
import { until } from './support/until'

let directory: EmbeddedLdap
let LDAP = ''
before(async () => {
  directory = await startEmbeddedLdap()
  LDAP = `[ldap]\nurl[] = ${directory.url}\nbase = ${directory.base}\n`
})
after(() => directory.stop())

/** Starts Haraka with these settings. @returns its log once it is ready */
async function startLog(options: HarakaOptions): Promise<string> {
  const haraka = await startHaraka(options)
  await haraka.stop()
  return haraka.log()
}

/** @returns the plugin's lines about the settings at this level, without their time stamps */
function said(log: string, level: string): string[] {
  const mark = `[${level}] [-] [gal-relay] `
  return log.split('\n').flatMap((line) => {
    const at = line.indexOf(mark)
    const text = line.slice(at + mark.length)
    return at < 0 || /^directory .* is up$/.test(text) ? [] : [text]
  })
}

describe('a start with settings that cannot be used', { concurrency: 2 }, () => {
  let failure: Promise<string> | undefined
  const withoutFile = () => {
    failure ??= harakaStartFailure({})
    return failure
  }

  test('fails and names every problem: where, what, and what was probably meant', async () => {
    const output = await harakaStartFailure({
      ini: `enabeld = false
[restrictons]
open = false
[restrictions]
hosts[] = 1.1.1.1;255.0.0.0
hosts[] = 10.0.0.0/33
never[] = 192.168.1.300
authenticated = maybe
[routing]
mixed = both
[routes]
example.com = inbound
EXAMPLE.com = always-relay
@example.com = inbound
*.example.net = inbound
bücher.example = inbound
user@example.org = reufse
[192.0.2.300] = inbound
old.example = reroute older.example
older.example = reroute oldest.example
round.example = reroute about.example
about.example = reroute round.example
self.example = reroute sub.self.example
supplier.example = forward gateway.example
partner.example = shared
other.example = http://10.0.0.1
[listener *:smtp]
enabled = false
[listener 0.0.0.0:25]
enabled = false
[gal]
cache_found = 15
modes = live
[ldap]
url[] = https://dc1.corp.example
bind_dn = cn=reader,dc=test
bind_password = first
bind_password = second
`,
    })
    const wanted = [
      'line 1: [main] enabeld: there is no such key; probably meant: enabled',
      'line 2: [restrictons]: there is no such section; probably meant: [restrictions]',
      'line 5: [restrictions] hosts[] = 1.1.1.1;255.0.0.0: the net has bits outside its mask, so the entry can never match; probably meant: 1.0.0.0;255.0.0.0 (that network) or 1.1.1.1 (that one host)',
      "line 6: [restrictions] hosts[] = 10.0.0.0/33: '33' is not a number of bits from 0 to 32",
      "line 7: [restrictions] never[] = 192.168.1.300: '192.168.1.300' is not an IPv4 or IPv6 address",
      'line 8: [restrictions] authenticated = maybe: is neither true nor false',
      'line 10: [routing] mixed = both: is not one of split, defer',
      "line 13: [routes] EXAMPLE.com = always-relay: is the same domain as 'example.com'; a domain can have only one row",
      "line 15: [routes]: Haraka cannot read the key '*.example.net'; probably meant: example.net (it matches the subdomains too)",
      "line 16: [routes]: Haraka cannot read the key 'bücher.example'; write the domain as its A-label: xn--bcher-kva.example",
      "line 17: [routes] user@example.org = reufse: 'reufse': unknown route type; probably meant: refuse",
      'line 18: [routes] [192.0.2.300] = inbound: is not an IPv4 or IPv6 address literal',
      'line 19: [routes] old.example = reroute older.example: points to another reroute row: old.example → older.example → oldest.example; a domain is rerouted once, probably meant: reroute oldest.example',
      'line 21: [routes] round.example = reroute about.example: is a loop: round.example → about.example → round.example; a domain is rerouted only once',
      'line 22: [routes] about.example = reroute round.example: is a loop: about.example → round.example → about.example; a domain is rerouted only once',
      'line 23: [routes] self.example = reroute sub.self.example: is a loop: self.example → sub.self.example → self.example; a domain is rerouted only once',
      "line 24: [routes] supplier.example = forward gateway.example: 'gateway.example' is not a next hop; probably meant: smtp://gateway.example",
      "line 25: [routes] partner.example = shared: 'shared' needs a next hop: shared smtp://host[:port]",
      "line 26: [routes] other.example = http://10.0.0.1: 'http://10.0.0.1': unknown route type; a route is one of inbound, accept, shared, always-relay, forward, reroute, refuse",
      'line 27: [listener *:smtp]: is not [listener <address>:<port>], where each may be *: [listener 192.0.2.1:25], [listener *:587], [listener 2001:db8::5:*]',
      'line 29: [listener 0.0.0.0:25]: a connection never has the local address 0.0.0.0; probably meant: [listener *:25]',
      'line 32: [gal] cache_found = 15: has no unit; probably meant: 15s',
      'line 33: [gal] modes: there is no such key; probably meant: mode',
      'line 35: [ldap] url[] = https://dc1.corp.example: is not an ldap://, ldaps://, ldapi:// or srv:// URL',
      "line 38: [ldap] bind_password: 'bind_password' is already in line 37, and only one of them can count",
      '[ldap] base: is missing: base = dc=corp,dc=example',
    ]
    const lines = output
      .split('\n')
      .filter((line) => / {2}config\/gal_relay\.ini( line \d+)?: /.test(line))
      .map((line) => line.replace(/^.*config\/gal_relay\.ini:? /, ''))
    assert.deepEqual(lines, wanted)
    assert.match(output, new RegExp(`gal-relay: ${wanted.length} problems in the settings`))
  })

  test('logs each problem once, without a stack, whatever the number of processes', async () => {
    const cluster = { nodes: 2, ini: '[routes]\nexample.com = inbound\n' }
    for (const output of [await withoutFile(), await harakaStartFailure(cluster)]) {
      assert.equal(output.match(/url\[\]: is missing/g)?.length, 1, output)
      assert.doesNotMatch(output, /\bat (readSettings|Plugin\.register)\b/)
    }
  })

  test('an absent file means a directory is missing', async () => {
    const output = await withoutFile()
    assert.match(output, /\[ldap\] url\[\]: is missing: url\[\] = ldaps:\/\/dc1\.corp\.example/)
    assert.match(output, /\[ldap\] base: is missing: base = dc=corp,dc=example/)
  })
})

describe('a start', { concurrency: 2 }, () => {
  const shared = sharedHaraka({})
  after(() => shared.stop())

  test('logs who may relay on each listener, and which domains are inbound', async () => {
    const log = await startLog({
      hostList: ['Host.Example', 'münchen.example', 'not a domain'],
      files: { 'config/host_list_regex': '.*\\.corp\\.example\n' },
      ini: `${LDAP}[routes]
example.com = inbound
@exact.example = inbound smtp://exchange.test
partner.example = always-relay
[restrictions]
hosts[] = 192.168.1.0/24
never[] = 192.168.1.66
[listener *:587]
authenticated = true
hosts[] =
[listener 10.0.0.8:25]
enabled = false
[listener 10.0.0.9:*]
reroute = false
authenticated = false
hosts[] =
`,
    })
    assert.deepEqual(said(log, 'NOTICE'), [
      'listeners without a section of their own: 192.168.1.0/24 may relay, never 192.168.1.66',
      'listener *:587: authenticated clients may relay, never 192.168.1.66',
      'listener 10.0.0.8:25: takes no part',
      'listener 10.0.0.9:*: nobody may relay (reroute = false)',
      'listener 10.0.0.9:587: nobody may relay (reroute = false)',
      'inbound domains: example.com, @exact.example, host.example, xn--mnchen-3ya.example',
    ])
    assert.deepEqual(said(log, 'WARN'), [
      "config/host_list: 'not a domain' is not a domain name, so it is not inbound",
      "config/host_list_regex: '.*\\.corp\\.example' makes no domain inbound; list its domains in [routes]",
    ])
  })

  test('warns of an open relay, and so does a reload', async () => {
    const open = (why: string) => [
      `OPEN RELAY on listeners without a section of their own: anybody may send mail anywhere through it (${why})`,
    ]
    for (const [setting, warnings] of [
      ['open = true', open('open = true')],
      ['hosts[] = 0.0.0.0/0', open('hosts[] = 0.0.0.0/0 matches every address')],
    ] as const) {
      await shared.with(`${LDAP}[restrictions]\n${setting}\n`, undefined, async ({ log }) => {
        // They are logged after the settings have been reloaded.
        await until(() => said(log(), 'WARN').length > 0)
        assert.deepEqual(said(log(), 'WARN'), warnings)
      })
    }
  })

  test('warns once of restrictions that have no effect (Q256856)', async () => {
    const ini = `${LDAP}[routing]\nreroute = false\n[restrictions]\nauthenticated = true\nhosts[] = 192.168.1.0/24\n`
    const log = await startLog({ ini })
    const warnings = said(log, 'WARN')
    assert.equal(warnings.length, 1, log)
    assert.match(
      warnings[0] ?? '',
      /reroute = false.*restrictions.*nobody may relay.*GAL are accepted.*reroute = true \(Q256856\)/,
    )
  })

  test('warns of plugins that answer first', async () => {
    const plugins = ['rcpt_to.in_host_list', 'gal-relay', 'test-queue']
    const log = await startLog({ ini: LDAP, plugins })
    const [warning, ...more] = said(log, 'WARN')
    assert.match(
      warning ?? '',
      /plugin rcpt_to\.in_host_list comes before gal-relay in config\/plugins/,
    )
    assert.deepEqual(more, [])

    const after = await startLog({
      ini: LDAP,
      plugins: ['haraka-plugin-gal-relay', 'rcpt_to.in_host_list', 'test-queue'],
    })
    assert.deepEqual(said(after, 'WARN'), [])
  })

  test('logs each line once in a cluster', async () => {
    const options: HarakaOptions = {
      nodes: 2,
      plugins: ['rcpt_to.in_host_list', 'gal-relay', 'test-queue'],
      hostList: ['host.example', 'not a domain'],
      ini: `${LDAP}[restrictions]\nopen = true\n`,
    }
    const log = await startLog(options)
    assert.deepEqual(said(log, 'NOTICE'), [
      'listeners without a section of their own: EVERYBODY may relay (open = true)',
      'inbound domains: host.example',
    ])
    const warnings = said(log, 'WARN')
    assert.deepEqual([...new Set(warnings)], warnings)
    assert.equal(warnings.length, 3, warnings.join('\n'))
  })

  test('without a directory is possible if the plugin is disabled, which then changes nothing', async () => {
    const options: HarakaOptions = {
      ini: 'enabled = false\n',
      hostList: ['host.example'],
      plugins: ['gal-relay', 'rcpt_to.in_host_list', 'test-queue'],
      auth: { carol: 'carol-secret' },
    }
    const haraka: Haraka = await startHaraka(options)
    try {
      const smtp = await connectSmtp({
        port: haraka.port,
        proxy: { client: '10.0.0.1', local: '10.0.0.5:25' },
      })
      await smtp.ehlo()
      const to = ['anybody@host.example', 'friend@elsewhere.example']
      const stranger = await smtp.transaction('a@b.example', to, 'Subject: one\r\n\r\none\r\n')
      assert.deepEqual(
        stranger.rcpt.map(({ line }) => line),
        [
          '250 recipient <anybody@host.example> OK',
          '550 I cannot deliver mail for <friend@elsewhere.example>',
        ],
      )
      assert.equal(stranger.data?.code, 250)
      assert.deepEqual(
        haraka.delivered().map(({ rcpt_to }) => rcpt_to),
        [['anybody@host.example']],
      )

      assert.equal((await smtp.auth('carol', 'carol-secret')).code, 235)
      const carol = await smtp.transaction('a@b.example', to, 'Subject: two\r\n\r\ntwo\r\n')
      assert.equal(carol.data?.code, 250)
      assert.deepEqual(
        haraka
          .outboundMessages()
          .flatMap(({ rcpt_to }) => rcpt_to)
          .sort(),
        to,
      )
      await smtp.quit()
      assert.deepEqual(said(haraka.log(), 'WARN'), [])
    } finally {
      await haraka.stop()
    }
  })
})

describe('a password', { concurrency: 2 }, () => {
  const routes = '[routes]\npartner.example = always-relay smtp://joe:geheim-1@hub.test:2525\n'

  test('is not shown by a start that fails', async () => {
    const output = await harakaStartFailure({
      logLevel: 'debug',
      ini: `[routes]
a.example = forward smtp://joe:geheim-1@hub_.test:99999
b.example = forward http://joe:geheim-2@hub.test
c.example = inbound joe:geheim-3@hub.test
d.example = smtp://joe:geheim@4@hub.test
d.example = reroute joe:geheim-5@hub.test
*.foo.example = forward smtps://joe:geheim-11@gw.example
  smtp://joe:geheim-12@second.gw.example
[ldap]
bind_password geheim-13
bind password = geheim-14
url[] = ldap://joe:geheim-6@dc1.test
url[] = joe:geheim-7@dc1.test
base = dc=test
bind_pasword = geheim-8
bind_password[] = geheim-9
[listener *:25]
bind_password = geheim-10
`,
    })
    assert.match(output, /problems in the settings/)
    assert.doesNotMatch(output, /geheim/)
  })

  test('is not shown by a start that succeeds, nor later, at the highest log level', async () => {
    const haraka = await startHaraka({
      logLevel: 'debug',
      ini: `${routes}${LDAP}bind_dn = cn=reader\nbind_password = geheim-2\n`,
    })
    try {
      const smtp = await connectSmtp({
        port: haraka.port,
        proxy: { client: '10.0.0.1', local: '10.0.0.5:25' },
      })
      await smtp.ehlo()
      const { rcpt, data } = await smtp.transaction(
        'a@b.example',
        ['friend@partner.example'],
        'Subject: x\r\n\r\nx\r\n',
      )
      assert.deepEqual([rcpt[0]?.code, data?.code], [250, 250])
      await smtp.quit()
      assert.match(haraka.log(), /\[DEBUG\]/)
      assert.doesNotMatch(haraka.log(), /geheim/)
      assert.doesNotMatch(
        JSON.stringify(haraka.outboundMessages().map(({ todo }) => todo)),
        /geheim/,
      )
    } finally {
      await haraka.stop()
    }
  })
})
