// TLS and passwords: only the right server is spoken to, never in clear where TLS was asked for, and
// files are read again for new connections.
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { getServers, setServers } from 'node:dns/promises'
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, before, describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { Connection } from '../../plugins/gal-relay/ldap/connection'
import { secured, tlsOptions } from '../../plugins/gal-relay/ldap/tls'
import type { LdapSettings } from '../../plugins/gal-relay/settings/settings'
import { LDAP, serverUrl, testList } from '../gal/lists'
import { type Certificate, type CertificateAuthority, makeAuthority } from '../support/certificates'
import { startDns } from '../support/dns-server'
import { skipWithout } from '../support/programs'
import { type Slapd, startSlapd } from '../support/slapd'
import { startTcpProxy } from '../support/tcp-proxy'
import { until } from '../support/until'

const ADDRESS = 'alice@example.com'

describe('TLS', { skip: skipWithout('slapd', 'slapadd', 'openssl'), concurrency: 4 }, () => {
  let authority: CertificateAuthority
  let stranger: CertificateAuthority
  before(() => {
    authority = makeAuthority()
    stranger = makeAuthority()
  })
  after(() => {
    authority?.remove()
    stranger?.remove()
  })

  /** Asks over ldaps and over StartTLS. @returns the two answers, or why there were none */
  async function asked(
    slapd: Slapd,
    ldap: Partial<LdapSettings>,
  ): Promise<[overTls: string, startTls: string]> {
    const answers = [slapd.tlsUrl, slapd.url].map(async (url) => {
      const list = testList({
        url: [serverUrl(url)],
        starttls: url === slapd.url,
        tls_ca: authority.ca,
        ...ldap,
      })
      const answer = await list.answer(ADDRESS)
      await list.close()
      return answer.state === 'unavailable' ? answer.reason : answer.state
    })
    const [overTls = '', startTls = ''] = await Promise.all(answers)
    return [overTls, startTls]
  }

  async function withServer(
    tls: Certificate & { readonly clientCa?: string },
    run: (slapd: Slapd) => Promise<void>,
  ): Promise<void> {
    const slapd = await startSlapd({ entries: [ADDRESS], tls })
    try {
      await run(slapd)
    } finally {
      await slapd.stop()
    }
  }

  test('a right certificate', () =>
    withServer(authority.issue(), async (slapd) => {
      assert.deepEqual(await asked(slapd, {}), ['found', 'found'])
    }))

  const WRONG: readonly [string, () => Certificate, RegExp][] = [
    ['expired', () => authority.issue({ isExpired: true }), /expired/],
    ['signed by itself', () => authority.issue({ isSelfSigned: true }), /self-signed/],
    ['of another CA', () => stranger.issue(), /unable to (verify|get)|self-signed/],
    [
      'for another name',
      () => authority.issue({ names: ['DNS:dc.elsewhere.example', 'IP:127.0.0.2'] }),
      /IP: 127\.0\.0\.1 is not in the cert's list/,
    ],
  ]
  for (const [what, issue, reason] of WRONG) {
    test(`a certificate that is ${what} is refused, unless tls_verify is off`, () =>
      withServer(issue(), async (slapd) => {
        for (const answer of await asked(slapd, {})) assert.match(answer, reason)
        assert.deepEqual(await asked(slapd, { tls_verify: false }), ['found', 'found'])
      }))
  }

  // The name that DNS gives is anybody's who answers in its place: only inside the domain of url[] may
  // a certificate be for it.
  const FOUND_BY_DNS: readonly [string, string, readonly string[], RegExp][] = [
    [
      'a target in the domain, certified by its name',
      'dc1.corp.test',
      ['DNS:dc1.corp.test'],
      /^found$/,
    ],
    ['the same in other letters', 'DC1.Corp.Test', ['DNS:dc1.corp.test'], /^found$/],
    [
      'a target in the domain, certified for the domain',
      'dc1.corp.test',
      ['DNS:corp.test'],
      /^found$/,
    ],
    ['the domain itself', 'corp.test', ['DNS:corp.test'], /^found$/],
    [
      'a target elsewhere, certified for the domain',
      'ldap.hoster.test',
      ['DNS:corp.test'],
      /^found$/,
    ],
    [
      'a target elsewhere, certified by its name',
      'ldap.hoster.test',
      ['DNS:ldap.hoster.test'],
      /DNS names ldap\.hoster\.test as a server of corp\.test, but it is outside that domain, .*write ldaps:\/\/ldap\.hoster\.test into url\[\]/,
    ],
    [
      'a target whose name only ends like the domain',
      'mycorp.test',
      ['DNS:mycorp.test'],
      /but it is outside that domain/,
    ],
    [
      'a target in the domain, certified by another name',
      'dc1.corp.test',
      ['DNS:www.corp.test'],
      /not in the cert's altnames/,
    ],
  ]
  for (const [what, target, names, expected] of FOUND_BY_DNS) {
    test(`srv://: ${what}`, () =>
      withServer(authority.issue({ names }), async (slapd) => {
        const ldap = { ...LDAP, starttls: true, tls_ca: authority.ca }
        const tls = await tlsOptions(ldap, {
          tls: false,
          host: target,
          port: slapd.port,
          name: `ldap://${target}`,
          domain: 'corp.test',
        })
        const socket = connect(slapd.port, '127.0.0.1')
        try {
          const connection = new Connection(socket)
          const answer = await connection
            .startTls(20_000)
            .then((clear) => secured(clear, tls))
            .then(
              () => 'found',
              (error: Error) => error.message,
            )
          assert.match(answer, expected)
        } finally {
          socket.destroy()
        }
      }))
  }

  test('srv://: a server that DNS alone vouches for gets no password', () =>
    withServer(authority.issue({ names: ['DNS:localhost'] }), async (slapd) => {
      const srv = [{ priority: 0, weight: 1, port: slapd.port, target: 'localhost' }]
      const dns = await startDns({ '_ldap._tcp.corp.test': { srv } })
      const servers = getServers()
      setServers([dns.address])
      const asked = (ldap: Partial<LdapSettings>) => {
        const list = testList({
          url: [serverUrl('srv://corp.test')],
          starttls: true,
          tls_ca: authority.ca,
          ...ldap,
        })
        return list.answer(ADDRESS).finally(() => list.close())
      }
      try {
        const answer = await asked({})
        assert.ok(answer.state === 'unavailable')
        assert.match(answer.reason, /DNS names localhost as a server of corp\.test/)
        assert.equal((await asked({ tls_verify: false })).state, 'found')
      } finally {
        setServers(servers)
        await dns.stop()
      }
    }))

  test('the CA of the system does not know ours', () =>
    withServer(authority.issue(), async (slapd) => {
      for (const answer of await asked(slapd, { tls_ca: '' }))
        assert.match(answer, /unable to|self-signed/)
    }))

  for (const mode of ['live', 'snapshot'] as const) {
    test(`SASL EXTERNAL, by certificate and by socket, ${mode}`, async () => {
      const folder = mkdtempSync(path.join(tmpdir(), 'gal-external-'))
      let lists = 0
      // Whoever is nobody in particular sees nothing.
      const slapd = await startSlapd({
        entries: [ADDRESS],
        tls: { ...authority.issue(), clientCa: authority.ca },
        access: ['access to * by users read by * none'],
      })
      const { cert, key } = authority.issue()
      const ask = async (url: string, ldap: Partial<LdapSettings>) => {
        const list = testList(
          { url: [serverUrl(url)], tls_ca: authority.ca, tls_cert: cert, tls_key: key, ...ldap },
          { mode },
          { file: path.join(folder, `list ${++lists}`) },
        )
        try {
          list.start()
          if (mode === 'snapshot' && ldap.bind_method) {
            await until(() => list.report().snapshot?.isCurrent === true)
          }
          return await list.ask(ADDRESS)
        } finally {
          await list.close()
        }
      }
      try {
        assert.equal(await ask(slapd.tlsUrl, { bind_method: 'external' }), 'found')
        assert.equal(await ask(slapd.url, { bind_method: 'external', starttls: true }), 'found')
        assert.equal(await ask(slapd.socketUrl, { bind_method: 'external' }), 'found')
        assert.equal(await ask(slapd.tlsUrl, {}), 'unavailable')
        assert.equal(await ask(slapd.socketUrl, {}), 'unavailable')
      } finally {
        await slapd.stop()
        rmSync(folder, { recursive: true, force: true })
      }
    })
  }

  test('a client certificate', () =>
    withServer({ ...authority.issue(), clientCa: authority.ca }, async (slapd) => {
      const client = authority.issue()
      const ldap = { tls_cert: client.cert, tls_key: client.key }
      assert.deepEqual(await asked(slapd, ldap), ['found', 'found'])
      for (const answer of await asked(slapd, {})) assert.match(answer, /no server is up/)
    }))

  test('a server that will not do StartTLS is not spoken to in clear', async () => {
    const slapd = await startSlapd({ entries: [ADDRESS] })
    const seen: Buffer[] = []
    const proxy = await startTcpProxy(slapd.port, { onRequest: (bytes) => seen.push(bytes) })
    const list = testList({
      url: [serverUrl(`ldap://127.0.0.1:${proxy.port}`)],
      starttls: true,
      bind_dn: slapd.bindDn,
      bind_password: slapd.password,
    })
    const answer = await list.answer(ADDRESS)
    assert.ok(answer.state === 'unavailable' && /StartTLS refused/.test(answer.reason))
    const text = Buffer.concat(seen).toString('latin1')
    assert.match(text, /1\.3\.6\.1\.4\.1\.1466\.20037/)
    assert.ok(!text.includes(slapd.password) && !text.includes(ADDRESS))
    await list.close()
    await proxy.stop()
    await slapd.stop()
  })

  test('files that cannot be read are named, and nothing is sent', () =>
    withServer(authority.issue(), async (slapd) => {
      const missing = '/nowhere/at-all.pem'
      for (const key of ['tls_ca', 'tls_cert', 'tls_key'] as const) {
        for (const answer of await asked(slapd, { [key]: missing }))
          assert.match(answer, /at-all\.pem/)
      }
    }))
})

describe('passwords', { skip: skipWithout('slapd', 'slapadd', 'ldapmodify') }, () => {
  let slapd: Slapd
  let folder: string
  before(async () => {
    folder = mkdtempSync(path.join(tmpdir(), 'passwords-'))
    slapd = await startSlapd({
      entries: [ADDRESS],
      schema: ['disallow bind_anon', 'require authc'],
    })
  })
  after(async () => {
    await slapd?.stop()
    rmSync(folder, { recursive: true, force: true })
  })

  const list = (ldap: Partial<LdapSettings>) =>
    testList({
      url: [serverUrl(slapd.url)],
      bind_dn: slapd.bindDn,
      retry_after: { least: 100, most: 200 },
      ...ldap,
    })

  async function answer(ldap: Partial<LdapSettings>): Promise<string> {
    const asked = list(ldap)
    const given = await asked.answer(ADDRESS)
    await asked.close()
    for (const line of asked.log.lines) assert.ok(!line.includes('secret'), line)
    return given.state === 'unavailable' ? given.reason : given.state
  }

  test('the right one, from the settings or from a file', async () => {
    const file = path.join(folder, 'right')
    writeFileSync(file, `${slapd.password}\n# of the account haraka\n`)
    assert.equal(await answer({ bind_password: slapd.password }), 'found')
    assert.equal(await answer({ bind_password_file: file }), 'found')
  })

  test('a wrong one, none, and a file that is not there', async () => {
    assert.match(await answer({ bind_password: 'wrong-secret' }), /invalid credentials \(49\)/)
    assert.match(await answer({ bind_password: '' }), /the password is empty/)
    assert.match(await answer({ bind_password_file: '/nowhere/at-all' }), /at-all: ENOENT/)
    const empty = path.join(folder, 'empty')
    writeFileSync(empty, '\n')
    assert.match(await answer({ bind_password_file: empty }), /the password is empty/)
  })

  test('a file that others may have written is not used, nor waited for', async () => {
    const file = path.join(folder, 'open')
    writeFileSync(file, slapd.password)
    chmodSync(file, 0o622)
    assert.match(
      await answer({ bind_password_file: file }),
      /bind_password_file is not used: others may write to .*open .*mode 0622/,
    )
    const pipe = path.join(folder, 'pipe')
    execFileSync('mkfifo', [pipe])
    assert.match(await answer({ bind_password_file: pipe }), /pipe is a named pipe, not a file/)
  })

  test('a server that wants a password gets none: down, not absent', async () => {
    assert.match(await answer({ bind_dn: '' }), /no server is up/)
  })

  test('a file that is put right is read without a reload', async () => {
    const file = path.join(folder, 'later')
    writeFileSync(file, 'wrong-secret')
    const asked = list({ bind_password_file: file })
    assert.equal(await asked.ask(ADDRESS), 'unavailable')
    writeFileSync(file, slapd.password)
    const end = performance.now() + 5000
    while ((await asked.ask(ADDRESS)) !== 'found') {
      assert.ok(performance.now() < end)
      await sleep(20)
    }
    await asked.close()
  })
})
