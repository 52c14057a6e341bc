// `[directory NAME]` in gal_relay.ini: what is wrong is said precisely, what is inherited is, and what must
// not reach somebody else's server is not.
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import {
  type DirectorySettings,
  directoriesFor,
} from '../../plugins/gal-relay/settings/directories'
import { inboundHosts } from '../../plugins/gal-relay/settings/host-list'
import { readIni } from '../../plugins/gal-relay/settings/ini'
import { SettingsError } from '../../plugins/gal-relay/settings/problem'
import {
  readSettings,
  readSettingsSteps,
  type Settings,
} from '../../plugins/gal-relay/settings/settings'
import { atOnce } from '../../plugins/gal-relay/settings/steps'

const LDAP = '[ldap]\nurl[] = ldap://127.0.0.1\nbase = dc=test\n'
const SERVER = 'url[] = ldap://127.0.0.1\nbase = dc=beta\n'
const BETA = `[directory beta]\ndomains[] = beta.example\n${SERVER}`

function read(text: string, hostList: string[] = []): Settings {
  return readSettings(readIni('config/gal_relay.ini', text), hostList, '/etc/haraka/config')
}

/** What is said of settings that must not be accepted, a line each, without the file's name. */
function problems(text: string, hostList: string[] = []): string[] {
  try {
    read(text, hostList)
  } catch (error) {
    assert.ok(error instanceof SettingsError)
    const [, ...lines] = error.message.split('\n')
    return lines.map((line) => line.trim().replace(/^config\/gal_relay\.ini( line \d+)?: /, ''))
  }
  throw new assert.AssertionError({ message: `accepted:\n${text}` })
}

function directory(text: string, name = 'beta'): DirectorySettings {
  const found = read(text).directories.all.find((one) => one.name === name)
  assert.ok(found)
  return found
}

describe('what is wrong with [directory NAME]', () => {
  it('is named with section and key when something is missing', () => {
    assert.deepEqual(problems('[directory beta]\ndomains[] = beta.example\n'), [
      '[directory beta] url[]: is missing: url[] = ldaps://dc1.corp.example',
      '[directory beta] base: is missing: base = dc=corp,dc=example',
    ])
    assert.deepEqual(problems(`${LDAP}[directory beta]\n${SERVER}`), [
      '[directory beta] domains[]: is missing: domains[] = example.com',
    ])
    assert.deepEqual(problems(`${LDAP}[directory beta]\ndomains[] =\n${SERVER}`), [
      '[directory beta] domains[]: is missing: domains[] = example.com',
    ])
  })

  it('is said all at once, and nothing more than that', () => {
    const text = `[routes]\nbeta.example = inbound\n[directory beta]\ncache_found = 15\nmode = snap\n`
    assert.deepEqual(problems(text), [
      '[directory beta] cache_found = 15: has no unit; probably meant: 15s',
      '[directory beta] mode = snap: is not one of live, snapshot, received',
      '[directory beta] url[]: is missing: url[] = ldaps://dc1.corp.example',
      '[directory beta] base: is missing: base = dc=corp,dc=example',
      '[directory beta] domains[]: is missing: domains[] = example.com',
    ])
    // Its domains are not without a directory: it is what cannot be read.
    assert.deepEqual(problems(`[routes]\nbeta.example = inbound\n${BETA}mode = snap\n`), [
      '[directory beta] mode = snap: is not one of live, snapshot, received',
    ])
  })

  it('is a key that does not belong there, or that there is not', () => {
    assert.deepEqual(
      problems(
        `${LDAP}${BETA}any_domain = true\nalways_accept = postmaster\nreroute = false\nbind_pasword = x\nenabled = false\n`,
      ),
      [
        '[directory beta] any_domain: belongs in [gal]',
        '[directory beta] always_accept: belongs in [gal]',
        '[directory beta] reroute: belongs in [routing]',
        '[directory beta] bind_pasword: there is no such key; probably meant: bind_password',
        '[directory beta] enabled: belongs in [main]',
      ],
    )
    assert.deepEqual(problems(`${LDAP}domains[] = beta.example\n`), [
      '[ldap] domains: belongs in [directory NAME]',
    ])
  })

  it('is a domain that is none', () => {
    assert.deepEqual(
      problems(
        `${LDAP}[directory beta]\ndomains[] = ann@beta.example\ndomains[] = *.beta.example\ndomains[] = a.example, b.example\n${SERVER}`,
      ),
      [
        '[directory beta] domains[] = ann@beta.example: is an address; probably meant: @beta.example',
        '[directory beta] domains[] = *.beta.example: probably meant: beta.example (it matches the subdomains too)',
        '[directory beta] domains[] = a.example, b.example: contains more than one value; write a line for each',
      ],
    )
    assert.deepEqual(
      problems(`${LDAP}[directory beta]\ndomains[] = ann@[IPv6:2001:DB8::7]\n${SERVER}`),
      [
        '[directory beta] domains[] = ann@[IPv6:2001:DB8::7]: is an address; probably meant: [ipv6:2001:db8::7]',
      ],
    )
  })

  it('is a name that is none, the one of [ldap], or that of another', () => {
    const named = (section: string) =>
      problems(`${LDAP}[${section}]\ndomains[] = beta.example\n${SERVER}`)
    assert.deepEqual(named('directory default'), [
      '[directory default]: is the name of the directory in [ldap]; give this one another',
    ])
    assert.deepEqual(named('directory Default'), [
      '[directory Default]: is the name of the directory in [ldap]; give this one another',
    ])
    assert.deepEqual(named('directory'), [
      '[directory]: is not [directory NAME], with a name of letters, digits, ., - and _',
    ])
    assert.deepEqual(named('directory Beta Ltd'), [
      '[directory Beta Ltd]: is not [directory NAME], with a name of letters, digits, ., - and _; probably meant: [directory Beta-Ltd]',
    ])
    assert.deepEqual(named('Directory beta'), [
      '[Directory beta]: probably meant: [directory beta]',
    ])
    assert.deepEqual(
      problems(`${LDAP}${BETA}${BETA.replace('directory beta', 'directory BETA')}`),
      ['[directory BETA]: is the same directory as [directory beta]'],
    )
  })

  it('is a list that another one keeps already', () => {
    const gamma = BETA.replaceAll('beta', 'gamma')
    assert.deepEqual(
      problems(`[gal]\nmode = snapshot\n[snapshot]\nfile = a.list\n${LDAP}${BETA}file = a.list\n`),
      [
        '[directory beta] file = /etc/haraka/config/a.list: is the file of directory default too; each list needs its own',
      ],
    )
    assert.deepEqual(
      problems(
        `${LDAP}${BETA}mode = snapshot\nfile = ../x/a.list\n${gamma}mode = snapshot\nfile = /etc/haraka/x/a.list\n`,
      ),
      [
        '[directory gamma] file = /etc/haraka/x/a.list: is the file of directory beta too; each list needs its own',
      ],
    )
    // One that asks live keeps none.
    read(
      `[gal]\nmode = snapshot\n[snapshot]\nfile = a.list\n${LDAP}${BETA}mode = live\nfile = a.list\n`,
    )
  })

  it('is a recipient that would be looked up nowhere', () => {
    const where = (domain: string) =>
      `has no directory: put ${domain} into domains[] of a [directory NAME], or configure a default one in [ldap]`
    const rows = `[routes]
beta.example = inbound
alpha.example = inbound
shared.example = shared smtp://unix
ann@gamma.example = inbound smtp://hop
a@alpha.example = accept
r@alpha.example = refuse
lists.example = accept
backup.example = always-relay
supplier.example = forward smtp://hop
old.example = reroute elsewhere.example
`
    assert.deepEqual(problems(`${rows}${BETA}`), [
      `[routes] alpha.example = inbound: ${where('alpha.example')}`,
      `[routes] shared.example = shared: ${where('shared.example')}`,
      `[routes] ann@gamma.example = inbound: ${where('@gamma.example')}`,
    ])
    read(`${rows}${LDAP}${BETA}`)
    assert.deepEqual(problems(BETA, ['beta.example', 'x.beta.example', 'alpha.example']), [
      'config/host_list: alpha.example has no directory: put it into domains[] of a [directory NAME], configure a default one in [ldap], or set [routing] host_list = false',
    ])
    read(`[routing]\nhost_list = false\n${BETA}`, ['alpha.example'])
    // A row says otherwise, which needs a directory or does not.
    const others = 'lists.example = accept\nold.example = reroute beta.example\n'
    read(`[routes]\n${others}${BETA}`, ['lists.example', 'x.old.example'])
    assert.deepEqual(problems(`[routes]\nann@[192.0.2.7] = inbound\n${BETA}`), [
      `[routes] ann@[192.0.2.7] = inbound: ${where('[192.0.2.7]')}`,
    ])
    // Where a row leads is decided as that.
    const led = `[routes]\nold.example = reroute alpha.example\nalpha.example = inbound\n${BETA}`
    assert.deepEqual(problems(led), [`[routes] alpha.example = inbound: ${where('alpha.example')}`])
    assert.deepEqual(problems(`[gal]\nany_domain = true\n${BETA}`), [
      '[gal] any_domain = true: has no directory to ask: any domain that no other has is looked up in the one of [ldap]',
    ])
    read(`[gal]\nany_domain = true\n${LDAP}${BETA}`)
    // Subdomains of a suffix row too
    const exact = BETA.replace('= beta', '= @beta')
    assert.deepEqual(problems(`[routes]\nbeta.example = inbound\n${exact}`), [
      `[routes] beta.example = inbound: ${where('beta.example')}`,
    ])
    read(`[routes]\n@beta.example = inbound\n${exact}`)
  })
})

describe('what a directory takes over from the general sections', () => {
  const GENERAL = `[gal]
mode = snapshot
attributes[] = mailLocalAddress
filter = (objectClass=person)
recipient_delimiter = +
x500 = true
authenticated_only_attribute = none
host_attribute = mailHost
routing_attribute = mailRoutingAddress
any_domain = true
always_accept = abuse
cache_found = 1m
cache_absent = 2m
cache_stale = 3m
cache_size = 4
[ldap]
url[] = ldaps://dc1.corp.example
base = dc=corp,dc=example
bind_dn = cn=haraka
bind_password = corp-secret
starttls = true
tls_ca = corp-ca.pem
tls_cert = corp.pem
tls_key = corp.key
tls_verify = false
dereference = always
referrals = follow
referral_hosts[] = ldap2.corp.example
connections = 5
connect_timeout = 6s
query_timeout = 7s
answer_within = 8s
retry_after = 9s to 10s
[snapshot]
file = corp.list
full_every = 11h
changes_every = 12s
usable_for = 13d
shrink_limit = 14%
`

  it('are times, sizes, limits and the mode', () => {
    const { gal, ldap, snapshot } = directory(`${GENERAL}${BETA}`)
    const { mode, cache_found, cache_absent, cache_stale, cache_size } = gal
    assert.deepEqual(
      { mode, cache_found, cache_absent, cache_stale, cache_size },
      {
        mode: 'snapshot',
        cache_found: 60_000,
        cache_absent: 120_000,
        cache_stale: 180_000,
        cache_size: 4,
      },
    )
    const { connections, connect_timeout, query_timeout, answer_within, retry_after } = ldap
    assert.deepEqual(
      { connections, connect_timeout, query_timeout, answer_within, retry_after },
      {
        connections: 5,
        connect_timeout: 6000,
        query_timeout: 7000,
        answer_within: 8000,
        retry_after: { least: 9000, most: 10_000 },
      },
    )
    const { full_every, changes_every, usable_for, shrink_limit } = snapshot
    assert.deepEqual(
      { full_every, changes_every, usable_for, shrink_limit },
      {
        full_every: 11 * 3_600_000,
        changes_every: 12_000,
        usable_for: 13 * 86_400_000,
        shrink_limit: 0.14,
      },
    )
  })

  it('are no servers, rights or names, and what its section says wins', () => {
    const { gal, ldap, snapshot } = directory(`${GENERAL}${BETA}`)
    const alone = directory(BETA)
    const { mode, cache_found, cache_absent, cache_stale, cache_size, always_accept, ...others } =
      gal
    for (const [key, value] of Object.entries(others)) {
      assert.deepEqual(value, alone.gal[key as keyof typeof alone.gal], key)
    }
    for (const key of [
      ...([
        'url',
        'base',
        'bind_method',
        'bind_dn',
        'bind_password',
        'bind_password_file',
      ] as const),
      ...(['starttls', 'tls_ca', 'tls_cert', 'tls_key', 'tls_verify'] as const),
      ...(['dereference', 'referrals', 'referral_hosts'] as const),
    ]) {
      assert.deepEqual(ldap[key], alone.ldap[key], key)
    }
    assert.equal(snapshot.file, '/etc/haraka/config/corp.beta.list')
    assert.doesNotMatch(JSON.stringify({ gal, ldap, snapshot }), /corp-secret|dc=corp|corp\.pem/)
    const own = directory(
      `${GENERAL}${BETA}mode = live\ncache_size = 9\nconnections = 1\nfull_every = 1h\nfile = beta.list\n`,
    )
    assert.deepEqual(
      [own.gal.mode, own.gal.cache_size, own.ldap.connections, own.snapshot.full_every],
      ['live', 9, 1, 3_600_000],
    )
    assert.equal(own.snapshot.file, '/etc/haraka/config/beta.list')
  })

  it('hold also where there is no default directory', () => {
    const text = `[gal]\nmode = snapshot\n[ldap]\nquery_timeout = 7s\n[snapshot]\nfull_every = 1h\n${BETA}`
    const { directories } = read(text)
    assert.deepEqual(directories.otherwise, [])
    const [beta, ...more] = directories.all
    assert.deepEqual(more, [])
    assert.equal(beta?.gal.mode, 'snapshot')
    assert.equal(beta?.ldap.query_timeout, 7000)
    assert.equal(beta?.snapshot.full_every, 3_600_000)
  })
})

describe('the directories of a domain', () => {
  const names = (settings: Settings, domain: string) =>
    directoriesFor(settings.directories, domain).map(({ name }) => name)

  it('are those that name it best, several where they do equally', () => {
    const settings = read(`${LDAP}${BETA}${BETA.replace('directory beta', 'directory twin')}
[directory hr]
domains[] = hr.beta.example
domains[] = @beta.example
${SERVER}`)
    assert.deepEqual(names(settings, 'beta.example'), ['hr'])
    assert.deepEqual(names(settings, 'x.beta.example'), ['beta', 'twin'])
    assert.deepEqual(names(settings, 'x.hr.beta.example'), ['hr'])
    assert.deepEqual(names(settings, 'alphabeta.example'), ['default'])
  })

  it('name a domain once, however often it is written', () => {
    const settings = read(`${LDAP}${BETA}domains[] = BETA.example\n`)
    assert.deepEqual(names(settings, 'beta.example'), ['beta'])
  })
})

describe('500 directories', () => {
  const sections = Array.from({ length: 500 }, (_, index) => {
    const domains = Array.from({ length: 20 }, (_, d) => `domains[] = d${d}.c${index}.example\n`)
    return `[directory c${index}]\n${domains.join('')}url[] = ldap://127.0.0.1\nbase = dc=c${index}\n`
  })
  const ini = readIni('config/gal_relay.ini', LDAP + sections.join(''))

  it('are read in steps, each no longer for all the others', () => {
    const { domains } = atOnce(inboundHosts([]))
    const steps = readSettingsSteps(ini, domains, '/')
    let count = 0
    for (;;) {
      const step = steps.next()
      if (step.done) {
        assert.equal(step.value.directories.all.length, 501)
        break
      }
      count++
    }
    // At least one for each section and for each of its domains
    assert.ok(count >= 500 * 20, `${count} steps`)
  })
})

describe('a list that comes from elsewhere', () => {
  const REDIS = '[redis]\nurl = redis://redis.test\n'
  const KEY = '[snapshot]\nkey_file = list.key\n'
  const RECEIVED = '[gal]\nmode = received\n'
  const NO_REDIS = 'is redis, and there is no Redis: write a [redis] section'
  const NO_KEY = 'needs the secret that lists are signed with, the same on each side'
  const NOT_HERE =
    'belongs to the server that publishes the list: with mode = received ([gal]) this one asks no directory'

  it('needs no directory, and a secret and a Redis or a file', () => {
    const { directories, redis } = read(`${RECEIVED}${KEY}${REDIS}`)
    const [only] = directories.all
    assert.deepEqual(directories.otherwise, [only])
    assert.deepEqual(only?.snapshot.channel, {
      ...{ role: 'receive', list: 'default', key_file: '/etc/haraka/config/list.key' },
      carrier: { redis },
    })
    const { snapshot } = directory(`${RECEIVED}${KEY}received_from = /srv/gal.list\n`, 'default')
    assert.deepEqual(snapshot.channel?.carrier, { file: '/srv/gal.list' })
    assert.deepEqual(problems(RECEIVED), [
      `[snapshot] key_file: is missing: mode = received ${NO_KEY}`,
    ])
    assert.deepEqual(problems(`${RECEIVED}${KEY}received_from = redis\n`), [
      `[snapshot] received_from: ${NO_REDIS}, or received_from = FILE`,
    ])
  })

  it('is read where it is published: nothing of the directory is set here', () => {
    assert.deepEqual(problems(`${RECEIVED}filter = (cn=*)\n${LDAP}${KEY}${REDIS}`), [
      `[gal] filter: ${NOT_HERE}`,
      `[ldap] url: ${NOT_HERE}`,
      `[ldap] base: ${NOT_HERE}`,
    ])
  })

  it('comes in its own file where nothing else is said, and is kept in another', () => {
    const { snapshot } = directory(`${RECEIVED}${KEY}file = /srv/gal.list\n`, 'default')
    assert.deepEqual(snapshot.channel?.carrier, { file: '/srv/gal.list' })
    assert.equal(snapshot.file, '/srv/gal.list.received')
    const beta = '[directory beta]\ndomains[] = beta.example\n'
    const { snapshot: other } = directory(`${RECEIVED}${KEY}file = /srv/gal.list\n${beta}`)
    assert.deepEqual(other.channel?.carrier, { file: '/srv/gal.beta.list' })
    assert.equal(other.file, '/srv/gal.beta.list.received')
  })

  it('has the name of its directory, and its file too', () => {
    const beta = '[directory beta]\ndomains[] = beta.example\n'
    const text = `${RECEIVED}${KEY}received_from = /srv/gal.list\n${beta}`
    const { channel } = directory(text).snapshot
    assert.equal(channel?.list, 'beta')
    assert.deepEqual(channel?.carrier, { file: '/srv/gal.beta.list' })
    const own = directory(`${LDAP}${KEY}${REDIS}${beta}mode = received\n`)
    assert.equal(own.snapshot.channel?.role, 'receive')
    assert.deepEqual(problems(`${text}${SERVER}`), [
      `[directory beta] url: ${NOT_HERE}`,
      `[directory beta] base: ${NOT_HERE}`,
    ])
  })

  it('is shared by those that may ask the directory', () => {
    const shared = `[gal]\nmode = snapshot\n${LDAP}[snapshot]\nshare = redis\n`
    assert.deepEqual(problems(shared), [`[snapshot] key_file: is missing: share = redis ${NO_KEY}`])
    assert.deepEqual(problems(`${shared}key_file = k\n`), [`[snapshot] share: ${NO_REDIS}`])
    const { snapshot } = directory(`${shared}key_file = k\n${REDIS}`, 'default')
    assert.equal(snapshot.channel?.role, 'share')
    assert.equal(directory(`${LDAP}${KEY}${REDIS}`, 'default').snapshot.channel, undefined)
  })
})
