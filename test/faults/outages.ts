// Directories that real Harakas ask, and what goes wrong with them: the faults of gal/, and faults of a
// server's certificate, of an account, and of result codes.
import { appendFileSync, copyFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import {
  FAULTS_OF_THE_SERVER,
  FAULTS_ON_THE_WAY,
  type Fault,
  type FaultOf,
  PEOPLE,
  site,
  stopSites,
} from '../gal/fault-sites'
import { VALID } from '../gal/load'
import { type CertificateOptions, makeAuthority } from '../support/certificates'
import { skipWithout } from '../support/programs'
import { type Samba, skipWithoutSamba, startSamba } from '../support/samba'
import type { SlapdEntry } from '../support/slapd'
import { type StalledPort, startStalledPort } from '../support/stalled-port'
import { startTcpProxy, type TcpProxy } from '../support/tcp-proxy'
import { addressAt, DOMAINS, type Domain } from './gateway'

/** A directory with the valid addresses of load.ts at each domain of gateway.ts, and its faults. */
export interface Place {
  readonly url: string
  /** Another server with the same addresses; nothing is ever wrong with it. */
  readonly second: string
  readonly base: string
  /** More lines of `[ldap]`. */
  readonly ldap: string
  /** @param fault its name in the scenario */
  begin(fault: string): Promise<void>
  end(fault: string): Promise<void>
  close(): Promise<void>
}

/** A place and its faults, which come one after the other. */
export interface Scenario {
  readonly name: string
  readonly skip: string | false
  /** Milliseconds from a reply to the next RCPT on the same connection, so that the server keeps up. */
  readonly pause: number
  readonly faults: readonly string[]
  open(): Promise<Place>
}

/** The valid addresses of load.ts at another domain, in the unit that has those of load.ts. */
export const entriesAt = (domain: Domain): SlapdEntry[] =>
  VALID.map((address, i) => ({
    dn: `uid=r${i}.${domain},ou=staff,${PEOPLE}`,
    mail: addressAt(domain, address),
  }))
const MORE = DOMAINS.slice(1).flatMap(entriesAt)

type OnTheWay = FaultOf<{ readonly proxy: TcpProxy }>

const CLOSED_PORT: OnTheWay = {
  name: 'the port is closed',
  begin: ({ proxy }) => proxy.closePort(),
  end: ({ proxy }) => proxy.openPort(),
}

const stalled = new Map<number, StalledPort>()

const HANGING_CONNECT: OnTheWay = {
  name: 'connecting hangs',
  async begin({ proxy }) {
    proxy.closePort()
    stalled.set(proxy.port, await startStalledPort(proxy.port))
  },
  async end({ proxy }) {
    await stalled.get(proxy.port)?.stop()
    await proxy.openPort()
  },
}

/** The first of several servers may be in this state when Haraka starts. */
export const DEAD_AT_START: ReadonlySet<string> = new Set([CLOSED_PORT.name, HANGING_CONNECT.name])

const RESULT_CODES = { sizeLimitExceeded: 4, referral: 10, busy: 51, unavailable: 52 }

const resultCodes = Object.entries(RESULT_CODES).map(
  ([name, code]): OnTheWay => ({
    name: `every result is ${name}`,
    begin: ({ proxy }) => proxy.behave({ kind: 'result', code }),
    end: ({ proxy }) => proxy.behave({ kind: 'pass' }),
  }),
)

/** Ends with the file written anew; otherwise the account would not be tried for five minutes. */
const wrongPassword = (file: string): Fault => ({
  name: WRONG_PASSWORD,
  async begin({ slapd, proxy }) {
    await slapd.modify(slapd.bindDn, { userPassword: 'another-secret' })
    proxy.drop()
  },
  async end({ slapd }) {
    await slapd.modify(slapd.bindDn, { userPassword: slapd.password })
    appendFileSync(file, 'written again\n')
  },
})
const WRONG_PASSWORD = 'the password is no longer right'

const CERTIFICATES: Readonly<Record<string, CertificateOptions>> = {
  'its certificate is expired': { isExpired: true },
  'its certificate is self-signed': { isSelfSigned: true },
  'its certificate is for another name': { names: ['DNS:dc.elsewhere.example'] },
}

const namesOf = (faults: readonly { readonly name: string }[]) => faults.map(({ name }) => name)

function bindLines({ bindDn, password }: { readonly bindDn: string; readonly password: string }) {
  return `bind_dn = ${bindDn}\nbind_password = ${password}\n`
}

function placeOf<T extends { readonly proxy: TcpProxy }>(
  where: T,
  faults: readonly FaultOf<T>[],
  rest: Pick<Place, 'url' | 'second' | 'ldap' | 'close'>,
): Place {
  const find = (name: string) => faults.find((fault) => fault.name === name)
  return {
    ...rest,
    base: PEOPLE,
    begin: async (name) => find(name)?.begin(where),
    end: async (name) => find(name)?.end(where),
  }
}

const ON_THE_WAY = [...FAULTS_ON_THE_WAY, CLOSED_PORT, HANGING_CONNECT, ...resultCodes]

/** Faults between us and the server, and of its answers. */
const OPENLDAP: Scenario = {
  name: 'OpenLDAP',
  skip: skipWithout('slapd', 'slapadd', 'ldapmodify'),
  pause: 250,
  faults: namesOf(ON_THE_WAY),
  async open() {
    const [first, second] = await Promise.all([site({ entries: MORE }), site({ entries: MORE })])
    return placeOf(first, ON_THE_WAY, {
      url: `ldap://127.0.0.1:${first.proxy.port}`,
      second: second.slapd.url,
      ldap: bindLines(first.slapd),
      close: () => stopSites(first, second),
    })
  },
}

/** Faults of the server itself. */
const OPENLDAP_WITH_TLS: Scenario = {
  name: 'OpenLDAP with TLS',
  skip: skipWithout('slapd', 'slapadd', 'ldapmodify', 'openssl'),
  pause: 250,
  faults: [...namesOf(FAULTS_OF_THE_SERVER), WRONG_PASSWORD, ...Object.keys(CERTIFICATES)],
  async open() {
    const authority = makeAuthority()
    const [used, good] = [authority.issue(), authority.issue()]
    const [first, second] = await Promise.all([
      site({ tls: used, entries: MORE }),
      site({ entries: MORE }),
    ])
    const { slapd, proxy } = first
    const folder = mkdtempSync(path.join(tmpdir(), 'outages-'))
    const file = path.join(folder, 'password')
    writeFileSync(file, `${slapd.password}\n`, { mode: 0o600 })
    async function use({ cert, key }: typeof good): Promise<void> {
      copyFileSync(cert, used.cert)
      copyFileSync(key, used.key)
      await slapd.restart()
    }
    const certificates = Object.entries(CERTIFICATES).map(([name, options]): Fault => {
      const bad = authority.issue(options)
      return { name, begin: () => use(bad), end: () => use(good) }
    })
    const faults = [...FAULTS_OF_THE_SERVER, wrongPassword(file), ...certificates]
    return placeOf(first, faults, {
      url: `ldaps://127.0.0.1:${proxy.port}`,
      second: second.slapd.url,
      ldap: `bind_dn = ${slapd.bindDn}\nbind_password_file = ${file}\ntls_ca = ${authority.ca}\n`,
      async close() {
        await stopSites(first, second)
        authority.remove()
        rmSync(folder, { recursive: true })
      },
    })
  },
}

/** The Samba domain's administrator as entries of an OpenLDAP server. */
function sameAccount({ bindDn, password }: Samba): SlapdEntry[] {
  const role = { objectClass: 'organizationalRole', sn: undefined }
  const account = { objectClass: ['organizationalRole', 'simpleSecurityObject'], sn: undefined }
  const container = bindDn.slice(bindDn.indexOf(',') + 1)
  return [
    { ...role, dn: container },
    { ...account, dn: bindDn, userPassword: password },
  ]
}

const AWAY = [...FAULTS_ON_THE_WAY.slice(0, 1), CLOSED_PORT, HANGING_CONNECT]

const ACTIVE_DIRECTORY: Scenario = {
  name: 'Active Directory',
  skip: skipWithoutSamba(),
  // It looks through all entries for each address.
  pause: 250,
  faults: namesOf(AWAY),
  async open() {
    const samba = await startSamba()
    const second = await site({ entries: [...sameAccount(samba), ...MORE] })
    const proxy = await startTcpProxy(389, { host: samba.host })
    await samba.add({ dn: PEOPLE, attributes: { objectClass: 'organizationalUnit', ou: 'people' } })
    await samba.add(
      ...VALID.map((address, i) => ({
        dn: `cn=r${i},${PEOPLE}`,
        attributes: {
          objectClass: 'contact',
          proxyAddresses: DOMAINS.map((domain) => `SMTP:${addressAt(domain, address)}`),
        },
      })),
    )
    return placeOf({ proxy }, AWAY, {
      url: `ldap://127.0.0.1:${proxy.port}`,
      second: second.slapd.url,
      ldap: bindLines(samba),
      async close() {
        await Promise.all([samba.stop(), proxy.stop(), stopSites(second)])
      },
    })
  },
}

export const SCENARIOS: readonly Scenario[] = [OPENLDAP, OPENLDAP_WITH_TLS, ACTIVE_DIRECTORY]
