import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { parseIni } from 'haraka-config/lib/readers/ini'
import type { DirectorySettings } from '../../plugins/gal-relay/settings/directories'
import { readableText, readIni } from '../../plugins/gal-relay/settings/ini'
import { SettingsError } from '../../plugins/gal-relay/settings/problem'
import {
  canonicalAddress,
  policyFor,
  readSettings,
  type Settings,
} from '../../plugins/gal-relay/settings/settings'

const LDAP = '[ldap]\nurl[] = ldap://127.0.0.1\nbase = dc=test\n'

/** With those of the default directory. */
function read(text: string, hostList: string[] = []): Settings & DirectorySettings {
  const ini = readIni('config/gal_relay.ini', text)
  const settings = readSettings(ini, hostList, '/etc/haraka/config')
  return { ...settings, ...(settings.directories.otherwise[0] as DirectorySettings) }
}

/** The message about settings that must not be accepted, without its first line. */
function problems(text: string): string {
  try {
    read(text)
  } catch (error) {
    assert.ok(error instanceof SettingsError)
    return error.message.split('\n').slice(1).join('\n')
  }
  throw new assert.AssertionError({ message: `accepted:\n${text}` })
}

const at = (settings: Settings, address: string, port: number) =>
  policyFor(settings, canonicalAddress(address) ?? '', port)

describe('settings', () => {
  it('have the defaults of the documentation', () => {
    const settings = read(LDAP, ['Example.COM'])
    const policy = at(settings, '192.0.2.1', 25)
    assert.equal(policy.enabled, true)
    assert.equal(policy.mixed, 'split')
    assert.deepEqual([...policy.routing.hostList], ['example.com'])
    assert.equal(policy.restrictions.reroute, true)
    assert.equal(policy.restrictions.open, false)
    assert.deepEqual([...policy.restrictions.neverAccounts], ['guest', 'anonymous'])
    assert.deepEqual(settings.gal.attributes, ['proxyAddresses', 'mail'])
    assert.deepEqual(settings.gal.always_accept, ['postmaster'])
    assert.equal(settings.gal.cache_stale, 4 * 3600 * 1000)
    assert.deepEqual(settings.ldap?.retry_after, { least: 1000, most: 30_000 })
    assert.equal(settings.ldap?.answer_within, 5000)
  })

  it('need a directory as soon as any listener is enabled', () => {
    assert.equal(
      problems(''),
      '  config/gal_relay.ini: [ldap] url[]: is missing: url[] = ldaps://dc1.corp.example\n' +
        '  config/gal_relay.ini: [ldap] base: is missing: base = dc=corp,dc=example',
    )
    assert.match(problems('[main]\nenabled = false\n[listener *:25]\nenabled = true\n'), /url\[\]/)
    assert.equal(read('[main]\nenabled = false\n').ldap, undefined)
  })

  it('report every problem at once, with its line', () => {
    const text = `[restrictons]
hosts[] = 1.1.1.1
[restrictions]
hosts[] = 192.168.1.0/24
hosts[] = 1.1.1.1;255.0.0.0
authentcated = true
open = maybe
[routes]
example.com = inbound
Example.COM = always-relay
*.example.net = inbound
old.example = reroute older.example
older.example = reroute oldest.example
supplier.example = forward gateway.example
[gal]
cache_found = 15
attributes[] = proxy addresses
[ldap]
url[] = dc1.corp.example
url[] = ldap://joe:geheim@dc2.corp.example
answer_within = 40s
[listener 10.0.0.5]
enabled = false
`
    assert.equal(
      problems(text),
      [
        'line 1: [restrictons]: there is no such section; probably meant: [restrictions]',
        'line 5: [restrictions] hosts[] = 1.1.1.1;255.0.0.0: the net has bits outside its mask, so the entry can never match; probably meant: 1.0.0.0;255.0.0.0 (that network) or 1.1.1.1 (that one host)',
        'line 6: [restrictions] authentcated: there is no such key; probably meant: authenticated',
        'line 7: [restrictions] open = maybe: is neither true nor false',
        "line 10: [routes] Example.COM = always-relay: is the same domain as 'example.com'; a domain can have only one row",
        "line 11: [routes]: Haraka cannot read the key '*.example.net'; probably meant: example.net (it matches the subdomains too)",
        'line 12: [routes] old.example = reroute older.example: points to another reroute row: old.example → older.example → oldest.example; a domain is rerouted once, probably meant: reroute oldest.example',
        "line 14: [routes] supplier.example = forward gateway.example: 'gateway.example' is not a next hop; probably meant: smtp://gateway.example",
        'line 16: [gal] cache_found = 15: has no unit; probably meant: 15s',
        'line 17: [gal] attributes[] = proxy addresses: is not an attribute name',
        'line 19: [ldap] url[] = dc1.corp.example: is not an ldap://, ldaps://, ldapi:// or srv:// URL; probably meant: ldap://dc1.corp.example',
        'line 20: [ldap] url[] = ldap://***@dc2.corp.example: contains a user name or password; put these into bind_dn and bind_password',
        'line 21: [ldap] answer_within = 40s: is not from 10ms to 25s',
        'line 22: [listener 10.0.0.5]: is not [listener <address>:<port>], where each may be *; probably meant: [listener 10.0.0.5:*]',
        ': [ldap] base: is missing: base = dc=corp,dc=example',
      ]
        .map((line) =>
          line.startsWith(':') ? `  config/gal_relay.ini${line}` : `  config/gal_relay.ini ${line}`,
        )
        .join('\n'),
    )
  })

  it('have no time that a timer cannot wait for', () => {
    const snapshot = (every: string) => `${LDAP}[snapshot]\nfull_every = ${every}\n`
    assert.equal(read(snapshot('24d')).snapshot.full_every, 24 * 86_400_000)
    assert.match(problems(snapshot('25d')), /full_every = 25d: is not from 1s to 24d/)
    const retry = (range: string) => `${LDAP}retry_after = ${range}\n`
    assert.equal(read(retry('1s to 1d')).ldap?.retry_after.most, 86_400_000)
    assert.match(problems(retry('1s to 25d')), /retry_after = 1s to 25d: is longer than a day/)
  })

  it('say what Haraka would have ignored', () => {
    assert.match(
      problems(`${LDAP}[routes]\nmüller.example = inbound\n`),
      /A-label: xn--mller-kva\.example/,
    )
    assert.match(
      problems(`${LDAP}[listener [2001:db8::5]:25]\nenabled = false\n`),
      /without brackets: \[listener 2001:db8::5:25\]/,
    )
    assert.match(problems(`${LDAP}bind password = geheim\n`), /cannot read the key 'bind password'/)
    assert.doesNotMatch(problems(`${LDAP}bind password = geheim\n`), /geheim/)
    assert.match(problems(`${LDAP}base = dc=other\n`), /'base' is already in line 3.*base\[\] =/)
    assert.match(
      problems(`${LDAP}[routes]\na.example = inbound\na.example = inbound\n`),
      /a domain can have only one row/,
    )
  })

  it('are not subdomains that are rerouted to their domain, which has an exact row', () => {
    const to = (exact: string) => `[routes]\nx.test = reroute x.test\n${exact}\n${LDAP}`
    read(to('@x.test = inbound'))
    assert.match(problems(to('x.x.test = inbound')), /is a loop: x\.test → x\.test; a domain is/)
    assert.match(problems(to('@x.test = reroute x.x.test')), /@x\.test = reroute .* is a loop: /)
  })

  it('say what was probably meant', () => {
    const cases = {
      '[routes]\nann@a.test = reroute *@[192.0.2.7]': /probably meant: \[192\.0\.2\.7\]$/m,
      '[restrictions]\nhosts[] = 10.0.0.0/8, 192.168.0.0/16':
        /contains more than one value; write a line for each/,
      '[restrictions]\nhosts[] = 10.1.*': /probably meant: 10\.1\.0\.0\/16/,
      '[restrictions]\nhosts[] = 192.168.1.': /probably meant: 192\.168\.1\.0\/24/,
      '[restrictions]\nhosts[] = 300.1': /is not an IPv4 or IPv6 address$/m,
      '[Listener *:25]\nenabled = true': /\[Listener \*:25\]: probably meant: \[listener \*:25\]/,
      '[gal]\nattributes[] =':
        /line 2: \[gal\] attributes\[\] =: is empty, so nobody would be found/,
      '[routes]\na.test = reroute user@x.test':
        /'user@x\.test' is not a domain name; probably meant: reroute x\.test$/m,
      '[routes]\na.test = forward smtp://joe:a b@gw.test':
        /forward smtp:\/\/\*\*\*@gw\.test: .*percent-encoded: %20 for a blank/,
    }
    for (const [text, problem] of Object.entries(cases)) {
      assert.match(problems(`${text}\n${LDAP}`), problem)
    }
    assert.match(
      problems('[ldap]\nurl[] = ldap://dc1, ldap://dc2\nbase = corp.example\n'),
      /base = corp\.example: is not a DN; probably meant: dc=corp,dc=example/,
    )
    assert.match(problems('[ldap]\nurl = dc1, dc2\nbase = dc=test\n'), /write a line for each/)
  })

  it('never show a password', () => {
    const text = `[ldap]\nurl[] = ldap://x\nbase = dc=test\nbind_password[] = geheim\n[routes]\na.example = forward smtp://joe:geheim@bad_host:99999\n`
    assert.match(problems(text), /bind_password\[\] = \(not shown\)/)
    assert.doesNotMatch(problems(text), /geheim|joe/)
  })

  it('never show credentials, wherever somebody puts them', () => {
    const urls = [
      'smtp://joe:geheim@gw.test',
      'smtp//joe:geheim@gw.test',
      'joe:geheim@gw.test',
      'smtp://joe:ge@geheim@gw.test',
      'smtp//joe:gehe im,geheim@gw.test',
      'smtp://joe:1 geheim b@gw.test',
      'forward smtp://joe:12,geheim@gw.test:25',
      'smtp://a.test smtp://joe:geheim@gw.test:99999',
      'smtp://joe:geheim',
      'smtp//joe:geheim',
      '10.0.0.1/joe:geheim@gw.test',
      '10.0.0.1;joe:geheim@gw.test',
    ]
    const lines = (url: string) => [
      ...['', 'inbound ', 'forward ', 'reroute ', 'forwrad '].map(
        (kind) => `[routes]\na.test = ${kind}${url}`,
      ),
      `[routes]\na.test[] = forward ${url}\na.test[] = forward ${url}`,
      `[routes]\na.test = inbound\na.test = forward ${url}`,
      `[routes]\na.test = inbound\n${url}`,
      `[restrictions]\nhosts[] = ${url}`,
      `[restrictions]\nhosts = ${url}`,
      `[restrictions]\nhosts[] = 10.0.0.1, ${url}`,
      `[restrictions]\nopen[] = ${url}\nopen[] = ${url}`,
      `[ldap]\nurl[] = ${url}`,
      `[ldap]\nurl = ldap://a.test, ${url}`,
      `[ldap]\nbase = ${url}`,
      `[ldap]\n${url}`,
      '[ldap]\nbind_password:geheim\nbind_password:geheim',
      `[gal]\nfilter = ${url}`,
      `[gal]\nfilter = (${url})`,
      `[gal]\nattributes = ${url}`,
      `[gal]\nalways_accept[] = ${url}\nalways_accept[] = ${url}`,
    ]
    for (const line of urls.flatMap(lines)) {
      assert.doesNotMatch(problems(`[main]\nx = y\n${line}\n`), /geh|joe:(?!\*)/, line)
    }
    const said = problems(`${LDAP}[routes]\na.test = inbound\nbind_password = geheim\n`)
    assert.match(said, /\[routes\] bind_password = \(not shown\): belongs in \[ldap\]$/)
  })

  it('show nothing of a line that Haraka cannot read, where it may be a password', () => {
    const lines = {
      '*.a.test = forward smtps://joe:geheim@gw.test': "the key '*.a.test'",
      'bind password = geheim': "the key 'bind password'",
      'bind_password geheim': 'this line',
      'bind_password: geheim = x': 'this line',
      'bind_password : geheim=': 'this line',
      '*smtp://joe:geheim=@gw.test': 'this line',
    }
    for (const [line, shown] of Object.entries(lines)) {
      assert.ok(problems(`${LDAP}${line}\n`).includes(`Haraka cannot read ${shown}`), line)
      assert.doesNotMatch(problems(`${LDAP}${line}\n`), /geheim/)
    }
  })

  it('send a key home to its section', () => {
    assert.match(
      problems(`hosts[] = 10.0.0.1\n${LDAP}`),
      /\[main\] hosts: belongs in \[restrictions\]/,
    )
    assert.match(problems(`example.com = inbound\n${LDAP}`), /go into \[routes\]/)
    assert.match(problems(`[listener *:25]\nquery_timeout = 2s\n${LDAP}`), /belongs in \[ldap\]/)
  })

  it('say what was probably meant by a listener', () => {
    const said = (heading: string) =>
      problems(`${LDAP}${heading}\n`).replace(/^ *config\/gal_relay\.ini line \d+: /, '')
    const meant: Readonly<Record<string, string>> = {
      '[listener 25]': '[listener *:25]',
      '[listener :25]': '[listener *:25]',
      '[listener 10.0.0.5]': '[listener 10.0.0.5:*]',
      '[listener 2001:db8::7]': '[listener 2001:db8::7:*]',
    }
    for (const [heading, right] of Object.entries(meant)) {
      assert.equal(
        said(heading),
        `${heading}: is not [listener <address>:<port>], where each may be *; probably meant: ${right}`,
      )
    }
    assert.match(said('[listener *]'), /^\[listener \*\]: applies to every listener; put its keys /)
    assert.equal(
      said('[listener [::1]:25]'),
      'Haraka cannot read this section name; an IPv6 listener is written without brackets: [listener ::1:25]',
    )
    assert.match(said('[listener 0.1:25]'), /is not \[listener <address>:<port>\]/)
  })

  it('take a comment behind a value for what it is, and several values in one line', () => {
    const said = (section: string, line: string) =>
      problems(`${LDAP}[${section}]\n${line}\n`).replace(/^.*? =[^:]*: /, '')
    const comment = 'a comment needs a line of its own'
    const twoValues = 'contains more than one value; write a line for each'
    assert.equal(said('restrictions', 'hosts[] = 10.0.0.1 ; the server'), comment)
    assert.equal(said('routes', 'a.test = inbound # ours'), `'#' is not a next hop; ${comment}`)
    assert.equal(said('main', 'enabled = yes ; or no'), `is neither true nor false; ${comment}`)
    for (const line of [
      'never_accounts[] = guest ; the usual one',
      'never_accounts = guest, anonymous # both',
    ]) {
      assert.equal(said('restrictions', line), comment)
    }
    assert.equal(said('gal', 'always_accept = postmaster, abuse ; RFC 2142'), comment)
    assert.equal(said('gal', 'always_accept[] = abuse #'), comment)
    assert.equal(said('snapshot', 'file = list.snapshot ; here'), comment)
    for (const key of ['tls_ca', 'tls_cert', 'tls_key', 'bind_password_file']) {
      assert.ok(problems(`${LDAP}${key} = a.file #x\n`).includes(`${key} = a.file #x: ${comment}`))
    }
    for (const name of [
      'cn=a,dc=test ; us',
      'cn=a,dc=test # us',
      'o=Test ;',
      'a@b.test # us',
      'CORP\\a ; us',
    ]) {
      const text = `${LDAP}bind_dn = ${name}\nbind_password = x\n`
      assert.ok(problems(text).includes(`bind_dn = ${name}: ${comment}`), name)
    }
    for (const base of ['dc=corp,dc=test # all', 'ou=a,o=Test ; all']) {
      const text = `[ldap]\nurl[] = ldap://a.test\nbase[] = ${base}\n`
      assert.ok(problems(text).includes(`base[] = ${base}: ${comment}`), base)
    }
    assert.equal(said('main', 'enforce ='), 'is empty; it is true, false or relaying')
    assert.equal(said('main', 'enforce = relay'), 'is not true, false or relaying')
    assert.equal(said('main', 'enabled ='), 'is empty; it is true or false')
    assert.equal(said('restrictions', 'hosts[] = 10.0.0.1, 10.0.0.2'), twoValues)
    // One account of that name would let guests relay.
    assert.equal(said('restrictions', 'never_accounts = guest, anonymous'), twoValues)
    assert.equal(said('gal', 'attributes = mail, proxyAddresses'), twoValues)
    const urls = '[ldap]\nurl[] = ldap://a.test, ldap://b.test\nbase = dc=test\n'
    assert.match(problems(urls), new RegExp(`${twoValues}$`))
  })

  it('take for no comment what a DN, an account or a password may hold', () => {
    const ldapOf = (name: string, password = 'x') =>
      read(`${LDAP}bind_dn = ${name}\nbind_password = ${password}\n`).ldap
    for (const name of [
      'cn=Team #1,dc=test',
      'cn=a ;dc=test',
      'cn=a\\;b,dc=test',
      'CORP\\Team #1',
    ]) {
      assert.equal(ldapOf(name)?.bind_dn, name)
    }
    assert.equal(ldapOf('cn=a', 'a ; b # c')?.bind_password, 'a ; b # c')
    const base = 'ou=Team # 1,dc=test'
    assert.deepEqual(read(`[ldap]\nurl[] = ldap://a.test\nbase = ${base}\n`).ldap?.base, [base])
  })

  it('take a server on this machine, and SASL EXTERNAL', () => {
    const ldap = (lines: string) => read(`[ldap]\nbase = dc=test\n${lines}\n`).ldap
    const hosts = ldap('url[] = ldapi:///\nurl[] = ldapi://%2Frun%2Fldapi')?.url.map(
      ({ host }) => host,
    )
    assert.deepEqual(hosts, ['/var/run/slapd/ldapi', '/run/ldapi'])
    assert.equal(ldap('url[] = ldapi:///\nbind_method = external')?.bind_method, 'external')
    const said = (lines: string) => problems(`[ldap]\nbase = dc=test\n${lines}\n`)
    assert.match(
      said('url[] = ldapi://run/ldapi'),
      /does not name a socket: ldapi:\/\/\/ for the usual one/,
    )
    assert.match(said('url[] = ldapi://%zz'), /does not name a socket/)
    assert.match(
      said('url[] = ldapi:///\nbind_method = external\nbind_dn = cn=a\nbind_password = b'),
      /bind_dn: has no effect with bind_method = external/,
    )
    // A word counts in any case.
    assert.match(
      said('url[] = ldapi:///\nbind_method = EXTERNAL\nbind_dn = cn=a'),
      /bind_dn: has no effect with bind_method = external/,
    )
  })

  it('say so where a backslash at the end of a line swallows the next one', () => {
    const said = (text: string) => problems(text)
    const password = `${LDAP}bind_dn = cn=a,dc=test\nbind_password = geheim\\\n`
    for (const next of ['starttls = true\n', '[routes]\nexample.com = inbound\n', '']) {
      const text = said(`${password}${next}`)
      assert.match(text, /ends in a backslash, which joins the next line to it; a password/)
      assert.doesNotMatch(text, /geheim/)
    }
    const list = read(`${LDAP}[gal]\nalways_accept = postmaster, \\\n  abuse\n`).gal
    assert.deepEqual(list.always_accept, ['postmaster', 'abuse'])
  })

  it('take several delimiters, and X.500 addresses', () => {
    const galOf = (lines: string) => read(`${LDAP}[gal]\n${lines}\n`).gal
    assert.equal(galOf('recipient_delimiter = +-').recipient_delimiter, '+-')
    assert.equal(galOf('recipient_delimiter = ++').recipient_delimiter, '+')
    assert.equal(galOf('recipient_delimiter = none').recipient_delimiter, '')
    const names = ['proxyAddresses', 'mail', 'legacyExchangeDN']
    assert.deepEqual(galOf('x500 = true').attributes, names)
    assert.deepEqual(galOf('x500 = false').attributes, ['proxyAddresses', 'mail'])
    const given = 'attributes[] = LegacyExchangeDn\nattributes[] = mail\n'
    assert.deepEqual(galOf(`${given}x500 = true`).attributes, ['LegacyExchangeDn', 'mail'])
  })

  it('find what would pass for something else', () => {
    const said = (lines: string) => problems(`${LDAP}${lines}\n`)
    assert.match(said('[gal]\nfilter = (&(a=b)(c=d)'), /unbalanced parentheses$/)
    assert.match(said('[gal]\nrecipient_delimiter = +%'), /contains % or !, by which/)
    assert.match(said('[gal]\nrecipient_delimiter = !'), /contains % or !, by which/)
    assert.match(said('[gal]\nrecipient_delimiter = plus'), /is not a character such as '\+'/)
    assert.match(said('[gal]\nalways_accept = a@b.test'), /local parts, without @ and domain$/)
    assert.match(
      said('[restrictions]\nnever_accounts[] = "guest"'),
      /never_accounts\[\] = "guest": would include the quotes around it; probably meant: guest$/,
    )
    assert.match(said(`[gal]\nalways_accept = a, 'b'`), /quotes .*; probably meant: b$/)
    assert.match(said('[routes]\na.test/x = inbound'), /is not a domain name$/)
    assert.match(said('[routes]\na.test = inbound smpt://b'), /probably meant: smtp:\/\/$/)
    assert.match(said('bind_dn = cn=a'), /bind_dn: has no bind_password or bind_password_file$/)
    assert.match(said('bind_password = x'), /bind_password: has no effect without bind_dn$/)
    assert.match(
      said('bind_dn = cn=a\nbind_password = x\nbind_password_file = y'),
      /bind_password_file: cannot be combined with bind_password: only one can count$/,
    )
    const base = '[ldap]\nurl[] = ldap://a.test\nbase = dc=corp dc=test\n'
    assert.match(problems(base), /is not a DN: a comma is missing between dc= and dc=$/)
    const url = '[ldap]\nurl[] = dc1.corp.test:636\nbase = dc=test\n'
    assert.match(problems(url), /probably meant: ldaps:\/\/dc1\.corp\.test:636$/)
  })

  it('are read as Haraka reads them', () => {
    const name = fc.constantFrom(
      'a',
      'b',
      'a[]',
      'b[]',
      '[]',
      '@a.test',
      '[192.0.2.7]',
      'a b',
      '*.a',
    )
    const value = fc.constantFrom('', '1', '-0.5', 'x', 'a; b', 'a\\b', '[x]', '= y', 'true')
    const line = fc.oneof(
      fc.tuple(name, fc.constantFrom(' = ', '='), value).map((parts) => parts.join('')),
      name,
      fc.constantFrom('[main]', '[s]', ' [ t ] ', '', '; a = 1', '#', 'a = 1 \\', '\\', 'no key'),
    )
    fc.assert(
      fc.property(
        fc.array(line, { maxLength: 12 }),
        fc.constantFrom('\n', '\r\n', '\r'),
        (all, end) => {
          const text = all.join(end)
          const { sections } = readIni('', text)
          const haraka = readIni('', parseIni('', {}, readableText(text))).sections
          assert.deepEqual(sections, haraka)
        },
      ),
      { numRuns: 2000 },
    )
  })

  it('are read at once, however long the lists', () => {
    const before = process.cpuUsage()
    const lines = (count: number, line: (i: number) => string) =>
      Array.from({ length: count }, (_, i) => `${line(i)}\n`).join('')
    const hosts = lines(100_000, (i) => `hosts[] = 10.${i >> 16}.${(i >> 8) & 255}.${i & 255}`)
    const rows = lines(20_000, (i) => `d${i}.test = inbound`)
    const twins = lines(20_000, (i) => `D${i}.test = inbound`)
    const text = `${LDAP}[restrictions]\n${hosts}[routes]\n${rows}`
    const { restrictions, routing } = at(read(text), '192.0.2.1', 25)
    assert.equal(restrictions.hosts.entries.length, 100_000)
    assert.equal(routing.routes.rows.length, 20_000)
    const said = problems(text + twins).split('\n')
    assert.equal(said.length, 20_000)
    assert.match(said[1] ?? '', /D1\.test = inbound: is the same domain as 'd1\.test'/)
    const { user, system } = process.cpuUsage(before)
    assert.ok(user + system < 20_000_000, `${(user + system) / 1e6} s of CPU`)
  })

  it('name the first row of a domain for all others', () => {
    const text = `${LDAP}[routes]\na.test = inbound\nA.test = inbound\nA.TEST = inbound\n`
    assert.equal(problems(text).match(/is the same domain as 'a\.test'/g)?.length, 2)
  })

  it('keep the text of values that look like numbers', () => {
    for (const password of ['00123', '1.50', '12345678901234567890']) {
      const { ldap } = read(`${LDAP}bind_dn = cn=a\nbind_password = ${password}\n`)
      assert.equal(ldap?.bind_password, password)
    }
  })

  it('take one value for a list of one, and an empty list for empty', () => {
    const settings = read(
      `${LDAP}[restrictions]\nhosts = 10.0.0.0/8\n[listener *:587]\nhosts[] =\n`,
    )
    assert.equal(at(settings, '192.0.2.1', 25).restrictions.hosts.entries.length, 1)
    assert.equal(at(settings, '192.0.2.1', 587).restrictions.hosts.entries.length, 0)
    assert.match(
      problems(`${LDAP}[routing]\nreroute[] = false\n`),
      /takes one value; write reroute = …, without \[\]/,
    )
  })

  it('let the whole of a Global Catalog be searched', () => {
    assert.deepEqual(read('[ldap]\nurl[] = ldap://x:3268\nbase =\n').ldap?.base, [''])
    assert.deepEqual(read('[ldap]\nurl[] = ldap://x:3268\nbase[] =\n').ldap?.base, [''])
  })

  it('find file names in the config folder', () => {
    const { ldap } = read(
      `${LDAP}tls_ca = ca.pem\nbind_dn = cn=a\nbind_password_file = /run/secret\n`,
    )
    assert.equal(ldap?.tls_ca, '/etc/haraka/config/ca.pem')
    assert.equal(ldap?.bind_password_file, '/run/secret')
  })
})

describe('listeners', () => {
  const settings = read(`${LDAP}
[restrictions]
hosts[] = 192.168.1.0/24
never_accounts[] = test
[listener *:587]
authenticated = true
mixed = defer
[listener 10.0.0.8:*]
reroute = false
mixed = split
[listener 10.0.0.8:25]
enabled = false
[listener 2001:DB8:0::5:25]
open = true
`)

  it('inherit what they leave out, the most specific section first', () => {
    const submission = at(settings, '10.0.0.5', 587)
    assert.equal(submission.restrictions.authenticated, true)
    assert.equal(submission.mixed, 'defer')
    assert.equal(submission.restrictions.hosts.entries.length, 1)
    const both = at(settings, '10.0.0.8', 587)
    assert.equal(both.restrictions.authenticated, true)
    assert.equal(both.restrictions.reroute, false)
    assert.equal(both.mixed, 'split')
    assert.equal(at(settings, '10.0.0.8', 25).enabled, false)
    assert.equal(at(settings, '10.0.0.8', 25).restrictions.reroute, false)
    assert.equal(at(settings, '10.0.0.8', 26).enabled, true)
    assert.equal(at(settings, '10.0.0.5', 25).restrictions.authenticated, false)
  })

  it('are found by any spelling of their address', () => {
    assert.equal(at(settings, '2001:db8::5', 25).restrictions.open, true)
    assert.equal(at(settings, '::ffff:10.0.0.8', 25).enabled, false)
    assert.equal(at(settings, '', 0).name, '*:*')
  })

  it('are found whatever zeros stand before the port', () => {
    const settings = read(`${LDAP}[listener *:0587]\nopen = true\n`)
    assert.equal(at(settings, '192.0.2.1', 587).restrictions.open, true)
  })

  it('are errors where they could never match or say it twice', () => {
    assert.match(
      problems(`${LDAP}[listener 0.0.0.0:25]\nopen = true\n`),
      /meant: \[listener \*:25\]/,
    )
    assert.match(problems(`${LDAP}[listener *:*]\nopen = true\n`), /applies to every listener/)
    assert.match(problems(`${LDAP}[listener *:70000]\nopen = true\n`), /is not \[listener/)
    assert.match(
      problems(
        `${LDAP}[listener 2001:db8::5:25]\nopen = false\n[listener 2001:DB8::5:25]\nopen = false\n`,
      ),
      /is the same listener as \[listener 2001:db8::5:25\]/,
    )
  })
})
