// What is said at start of several directories: whose recipients are looked up where, and what is doubtful.
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { doubts, summary } from '../../plugins/gal-relay/advice/startup'
import { readIni } from '../../plugins/gal-relay/settings/ini'
import { readSettings, type Settings } from '../../plugins/gal-relay/settings/settings'

const LDAP = '[ldap]\nurl[] = ldap://127.0.0.1\nbase = dc=test\n'
const SERVER = 'url[] = ldap://127.0.0.1\nbase = dc=beta\n'

const read = (text: string, hostList: string[] = []): Settings =>
  readSettings(readIni('config/gal_relay.ini', text), hostList, '/')

function directory(name: string, domains: readonly string[], more = ''): string {
  const lines = domains.map((domain) => `domains[] = ${domain}\n`)
  return `[directory ${name}]\n${lines.join('')}${SERVER}${more}`
}

describe('where recipients are looked up', () => {
  const said = (text: string, hostList: string[] = []) => {
    const lines = summary(read(text, hostList))
    return lines.slice(lines.findIndex((line) => line.startsWith('inbound domains')) + 1)
  }

  it('is not said of the only directory', () => {
    assert.deepEqual(said(`[routes]\na.example = inbound\n${LDAP}`), [])
    assert.deepEqual(said('[main]\nenabled = false\n'), [])
  })

  it('is a line for the domains of each directory, and one for all others', () => {
    const text =
      '[routes]\na.example = inbound\nb.example = inbound\n' +
      LDAP +
      directory('beta', ['b.example', '@c.b.example'])
    assert.deepEqual(said(text), [
      'recipients at b.example, @c.b.example are looked up in directory beta',
      'recipients at all other domains are looked up in directory default',
    ])
  })

  it('names the directories that a domain has together, and says that there is no default one', () => {
    const text = [
      directory('east', ['merged.example', 'east.example']),
      directory('west', ['merged.example']),
      directory('south', ['merged.example']),
    ].join('')
    assert.deepEqual(said(text), [
      'recipients at merged.example are looked up in directories east, west and south; one of them must have them',
      'recipients at east.example are looked up in directory east',
      'there is no default directory: recipients at other domains are not looked up',
    ])
    assert.deepEqual(said(directory('one', ['one.example'])), [
      'recipients at one.example are looked up in directory one',
      'there is no default directory: recipients at other domains are not looked up',
    ])
  })

  it('is short for 500 directories, and for as many domains', () => {
    const all = Array.from({ length: 500 }, (_, n) => directory(`d${n}`, [`d${n}.example`]))
    const lines = said(LDAP + all.join(''))
    assert.equal(lines.length, 12)
    assert.equal(lines[10], 'and 490 more lines like these')
    const domains = Array.from({ length: 500 }, (_, n) => `d${n}.example`)
    assert.match(said(LDAP + directory('one', domains))[0] ?? '', /d9\.example and 490 more are/)
  })
})

describe('what is doubtful about several directories', () => {
  it('names the directory', () => {
    const { length: none } = doubts(read(LDAP))
    assert.equal(none, 0)
    const password = 'bind_dn = cn=a\nbind_password = secret\n'
    const [one, ...more] = doubts(read(LDAP.replace('127.0.0.1', 'dc1.corp.example') + password))
    assert.match(one ?? '', /^the bind password crosses the network in clear text to ldap:\/\/dc1/)
    assert.deepEqual(more, [])
    const text =
      `[routes]\nb.example = inbound\n${LDAP}` +
      directory('beta', ['b.example'], `starttls = true\ntls_verify = false\n${password}`)
    assert.deepEqual(doubts(read(text)), [
      'directory beta: tls_verify = false: whoever can redirect our connections can impersonate the directory',
    ])
  })

  it('is what was written for all, and holds for the default one alone, which is not there', () => {
    const text = (ldap: string) =>
      '[routes]\nb.example = inbound\n[gal]\nmode = live\nfilter = (mail=*)\nalways_accept = abuse\n' +
      `attributes[] = mail\n[ldap]\ntls_ca = ca.pem\nconnections = 3\n${ldap}[snapshot]\nfile = x\n` +
      directory('beta', ['b.example'])
    assert.deepEqual(doubts(read(text(''))), [
      '[gal] filter, attributes, [ldap] tls_ca: no effect, since there is no default directory ([ldap] url[]), ' +
        'and a [directory NAME] does not inherit it: write it there',
    ])
    assert.deepEqual(doubts(read(text('url[] = ldap://127.0.0.1\nbase = dc=a\n'))), [])
  })

  it('is [hosts] where nothing is looked up in it', () => {
    const text = (attribute: string) =>
      `[routes]\nb.example = inbound\n[hosts]\na = local\n${LDAP}` +
      directory('beta', ['b.example'], attribute)
    assert.deepEqual(doubts(read(text(''))), [
      '[hosts] has no effect: no directory has a host_attribute',
    ])
    assert.deepEqual(doubts(read(text('host_attribute = mailHost\n'))), [])
  })

  it('is said of ten', () => {
    const all = Array.from({ length: 500 }, (_, n) =>
      directory(`d${n}`, [`d${n}.example`], 'starttls = true\ntls_verify = false\n'),
    )
    const rows = Array.from({ length: 500 }, (_, n) => `d${n}.example = inbound\n`)
    const lines = doubts(read(`[routes]\n${rows.join('')}${all.join('')}`))
    assert.equal(lines.length, 11)
    assert.equal(lines[10], 'and 490 more lines like these')
  })
})

describe('domains[] at which nobody is looked up', () => {
  const unused = (rows: string, domains: readonly string[], more = '', hostList: string[] = []) =>
    doubts(read(`[routes]\n${rows}${LDAP}${directory('beta', domains)}${more}`, hostList)).map(
      (line) =>
        /^\[directory beta\] domains\[\] = (\S+) has no effect: no row/.exec(line)?.[1] ?? line,
    )

  it('are those without a row or a line of host_list', () => {
    const rows = 'b.example = inbound\ns.example = shared smtp://unix\n@e.example = inbound\n'
    assert.deepEqual(unused(rows, ['b.example', '@b.example', 'hr.b.example', 's.example']), [])
    assert.deepEqual(unused(rows, ['e.example', '@e.example', '@x.e.example', 'x.e.example']), [
      '@x.e.example',
      'x.e.example',
    ])
    // A suffix is used by one domain below it.
    assert.deepEqual(unused(rows, ['example']), [])
    assert.deepEqual(unused(rows, ['@example', 'xample', 'other.example']), [
      '@example',
      'xample',
      'other.example',
    ])
    assert.deepEqual(unused('', ['l.example', 'example', '@x.l.example'], '', ['l.example']), [
      '@x.l.example',
    ])
    const literals = ['[192.0.2.7]', '[IPv6:2001:db8::7]']
    assert.deepEqual(unused('[IPv6:2001:DB8:0::7] = inbound\n', literals), ['[192.0.2.7]'])
  })

  it('are those where another directory names all that is looked up', () => {
    const rows = 'hr.b.example = inbound\n'
    const hr = (domain: string) => directory('hr', [domain])
    assert.deepEqual(unused(rows, ['b.example'], hr('hr.b.example')), ['b.example'])
    assert.deepEqual(unused(rows, ['b.example'], hr('@hr.b.example')), [])
    assert.deepEqual(unused(`@${rows}`, ['b.example'], hr('@hr.b.example')), ['b.example'])
  })

  it('are those whose row looks nobody up', () => {
    const rows =
      'a.example = accept\nr.example = always-relay\nf.example = forward smtp://hop\n' +
      'old.example = reroute b.example\nb.example = inbound\n'
    const domains = ['a.example', 'r.example', 'f.example', 'old.example', 'b.example']
    assert.deepEqual(unused(rows, domains), domains.slice(0, -1))
    const address = 'ann@old.example = inbound\nbob@a.example = refuse\n'
    assert.deepEqual(unused(rows + address, ['old.example', 'a.example']), ['a.example'])
  })

  it('are used when any listener looks somebody up there', () => {
    const rows = 's.example = shared smtp://unix\n'
    const off = '[routing]\nreroute = false\n'
    assert.deepEqual(unused(rows, ['s.example'], off), ['s.example'])
    assert.deepEqual(unused(rows, ['s.example'], `${off}[listener *:587]\nreroute = true\n`), [])
    assert.deepEqual(unused(rows, ['x.example'], '[gal]\nany_domain = true\n'), [])
    assert.deepEqual(unused('', ['x.example'], '[main]\nenabled = false\n'), [])
  })

  it('are found in one walk through the rows', () => {
    const count = 20_000
    const rows = Array.from({ length: count }, (_, n) => `r${n}.example = inbound\n`).join('')
    const domains = Array.from({ length: count }, (_, n) => `d${n}.test`)
    const lines = unused(rows, domains)
    assert.equal(lines.length, 11)
    assert.equal(lines[10], `and ${count - 10} more lines like these`)
  })
})
