// A real OpenLDAP server for a test, with its own folder, on a free port of loopback, with the given entries.
// It is ended by its process id. Its schema has the mail attributes of Exchange.
import { type ChildProcess, execFile, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import {
  type Attributes,
  ldifAdd,
  ldifDelete,
  ldifEntry,
  ldifMove,
  ldifReplace,
  type Values,
} from './ldif'
import { freePort, untilListening } from './ports'
import { findProgram } from './programs'

/** A bare address is an entry with that `mail` and that `SMTP:` proxy address. */
export type SlapdEntry = string | ({ readonly dn?: string } & Attributes)

export interface SlapdOptions {
  readonly entries?: Iterable<SlapdEntry>
  /** Default `dc=corp,dc=test`. Empty: one database for the whole tree, and all entries are given. */
  readonly suffix?: string
  /** Lines for the top of slapd.conf, after the mail schema, such as more attribute types. */
  readonly schema?: readonly string[]
  /** Lines of other databases, placed before this one. */
  readonly before?: readonly string[]
  /** Lines for the database section of slapd.conf, such as overlays or other access rules. */
  readonly database?: readonly string[]
  /** Access rules, placed before the one that lets everybody read. */
  readonly access?: readonly string[]
  /** PEM files; with them the server listens for ldaps too and offers StartTLS. */
  readonly tls?: {
    readonly cert: string
    readonly key: string
    /** Clients must show a certificate that this CA signed. */
    readonly clientCa?: string
  }
  /** Reports changes by RFC 4533; default true */
  readonly syncprov?: boolean
  /** Each entry has the groups that it is a member of. */
  readonly memberOf?: boolean
  readonly limits?: { readonly size?: number; readonly seconds?: number }
}

export interface Slapd {
  /** `ldap://127.0.0.1:port` */
  readonly url: string
  readonly port: number
  /** `ldaps://127.0.0.1:port`; only with `tls` */
  readonly tlsUrl: string
  /** `ldapi://%2Ffolder%2Fldapi` */
  readonly socketUrl: string
  readonly tlsPort: number
  readonly base: string
  /** An account that may read everything but passwords, within the limits. */
  readonly bindDn: string
  readonly password: string
  readonly pid: number
  /** @returns the DN of an entry that was given without one, found by its address or `mail` */
  dnOf(address: string): string
  add(...entries: SlapdEntry[]): Promise<void>
  /** Replaces attributes; `[]` removes one. */
  modify(dn: string, attributes: Attributes): Promise<void>
  delete(...dns: string[]): Promise<void>
  /** Moves an entry, and all entries below it, in one operation. */
  move(dn: string, newSuperior: string, newRdn?: string): Promise<void>
  /** SIGSTOP: the system still accepts connections, but slapd does not answer. */
  pause(): void
  /** SIGCONT */
  resume(): void
  /** SIGKILL; `restart()` brings it back on the same ports with the same data. */
  kill(): Promise<void>
  /** @param options.clock an offset for the server's clock, such as `-1h`; needs the program faketime */
  restart(options?: { readonly clock?: string }): Promise<void>
  /** Ends it, replaces all entries with these, and starts it again on the same ports. */
  rebuild(entries: Iterable<SlapdEntry>): Promise<void>
  /** Ends the server and removes its folder. */
  stop(): Promise<void>
}

// Milliseconds to wait for what should take a second or two; a server may hang.
const PATIENCE = 60_000

const ADMIN_PASSWORD = 'admin-secret'
const READER_PASSWORD = 'reader-secret'

/** The attributes of Exchange that the tests use, for any entry of class `galRecipient`. */
export const MAIL_SCHEMA = `
attributetype ( 1.2.840.113556.1.2.210 NAME 'proxyAddresses' EQUALITY caseIgnoreMatch
  SUBSTR caseIgnoreSubstringsMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 )
attributetype ( 1.2.840.113556.1.2.352 NAME 'targetAddress' EQUALITY caseIgnoreMatch
  SUBSTR caseIgnoreSubstringsMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 SINGLE-VALUE )
attributetype ( 1.3.6.1.4.1.4203.666.1.901 NAME 'msExchRequireAuthToSendTo' EQUALITY booleanMatch
  SYNTAX 1.3.6.1.4.1.1466.115.121.1.7 SINGLE-VALUE )
attributetype ( 1.3.6.1.4.1.4203.666.1.902 NAME 'msExchHideFromAddressLists' EQUALITY booleanMatch
  SYNTAX 1.3.6.1.4.1.1466.115.121.1.7 SINGLE-VALUE )
attributetype ( 1.2.840.113556.1.4.655 NAME 'legacyExchangeDN' EQUALITY caseIgnoreMatch
  SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 SINGLE-VALUE )
attributetype ( 1.2.840.113556.1.4.8 NAME 'userAccountControl' EQUALITY integerMatch
  SYNTAX 1.3.6.1.4.1.1466.115.121.1.27 SINGLE-VALUE )
attributetype ( 2.16.840.1.113730.3.1.18 NAME 'mailHost' EQUALITY caseIgnoreIA5Match
  SYNTAX 1.3.6.1.4.1.1466.115.121.1.26 SINGLE-VALUE )
attributetype ( 2.16.840.1.113730.3.1.47 NAME 'mailRoutingAddress' EQUALITY caseIgnoreIA5Match
  SYNTAX 1.3.6.1.4.1.1466.115.121.1.26 )
objectclass ( 1.3.6.1.4.1.4203.666.3.901 NAME 'galRecipient' SUP top AUXILIARY
  MAY ( mail $ proxyAddresses $ targetAddress $ otherMailbox $ msExchRequireAuthToSendTo $
    msExchHideFromAddressLists $ userAccountControl $ legacyExchangeDN $
    mailHost $ mailRoutingAddress ) )
`

// No server outlives the test that started it, even if the test crashes.
const running = new Set<ChildProcess>()
process.once('exit', () => {
  for (const child of running) child.kill('SIGKILL')
})

/** Starts a server and waits until it listens. */
export async function startSlapd(options: SlapdOptions = {}): Promise<Slapd> {
  const folder = mkdtempSync(join(tmpdir(), 'slapd-'))
  const base = options.suffix ?? 'dc=corp,dc=test'
  const names = new Names(base)
  writeFileSync(join(folder, 'mail.schema'), MAIL_SCHEMA)
  writeFileSync(join(folder, 'cosine.schema'), cosineSchema())
  writeFileSync(join(folder, 'slapd.conf'), slapdConf(folder, base, options))
  const conf = join(folder, 'slapd.conf')
  await fill(options.entries ?? [])

  async function fill(entries: Iterable<SlapdEntry>): Promise<void> {
    const ldif = join(folder, 'entries.ldif')
    writeFileSync(ldif, firstLdif(base, entries, names))
    await run('slapadd', ['-q', '-f', conf, '-l', ldif, ...(base ? [] : ['-b', ''])])
  }

  const port = await freePort()
  const tlsPort = options.tls ? await freePort() : 0
  const url = `ldap://127.0.0.1:${port}`
  const tlsUrl = `ldaps://127.0.0.1:${tlsPort}`
  const socketUrl = `ldapi://${encodeURIComponent(join(folder, 'ldapi'))}`
  let child: ChildProcess = await launch()

  async function launch(clock?: string): Promise<ChildProcess> {
    const listen = `${url}/ ${options.tls ? `${tlsUrl}/` : ''} ${socketUrl}/`
    const args = ['-d', '0', '-f', conf, '-h', listen]
    const env = clock ? { ...process.env, ...clockSetTo(clock) } : process.env
    const started = spawn(findProgram('slapd') ?? 'slapd', args, { stdio: 'ignore', env })
    running.add(started)
    started.once('exit', () => running.delete(started))
    await untilListening(port, undefined, () =>
      started.exitCode === null ? undefined : `slapd ended with ${started.exitCode}`,
    )
    return started
  }

  async function end(signal: 'SIGTERM' | 'SIGKILL'): Promise<void> {
    if (child.exitCode !== null || child.signalCode !== null) return
    const exited = once(child, 'exit')
    child.kill('SIGCONT')
    child.kill(signal)
    const patience = setTimeout(() => child.kill('SIGKILL'), PATIENCE)
    await exited
    clearTimeout(patience)
  }

  const change = (ldif: string) =>
    run('ldapmodify', ['-x', '-H', url, '-D', below('cn=admin', base), '-w', ADMIN_PASSWORD], ldif)

  return {
    url,
    port,
    tlsUrl,
    socketUrl,
    tlsPort,
    base,
    bindDn: below('cn=reader', base),
    password: READER_PASSWORD,
    get pid() {
      return child.pid ?? 0
    },
    dnOf: (address) => names.dnOf(address),
    add: (...entries) => change(entries.map((e) => ldifAdd(...names.entry(e))).join('')),
    modify: (dn, attributes) => change(ldifReplace(dn, attributes)),
    delete: (...dns) => change(dns.map(ldifDelete).join('')),
    move: (dn, newSuperior, newRdn) => change(ldifMove(dn, newSuperior, newRdn)),
    pause: () => void child.kill('SIGSTOP'),
    resume: () => void child.kill('SIGCONT'),
    kill: () => end('SIGKILL'),
    async restart({ clock } = {}) {
      await end('SIGTERM')
      child = await launch(clock)
    },
    async rebuild(entries) {
      await end('SIGTERM')
      for (const file of ['data.mdb', 'lock.mdb']) rmSync(join(folder, file))
      await fill(entries)
      child = await launch()
    },
    async stop() {
      await end('SIGTERM')
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

/** Gives each entry its DN and the classes and attributes that the schema requires. */
class Names {
  readonly #base: string
  readonly #byAddress = new Map<string, string>()
  #count = 0

  constructor(base: string) {
    this.#base = base
  }

  dnOf(address: string): string {
    const dn = this.#byAddress.get(address)
    if (!dn) throw new Error(`no entry was made for ${address}`)
    return dn
  }

  entry(entry: SlapdEntry): [dn: string, attributes: Attributes] {
    const given = typeof entry === 'string' ? addressAttributes(entry) : entry
    const { dn = `uid=r${++this.#count},${this.#base}`, ...attributes } = given
    for (const address of typeof entry === 'string' ? [entry] : flat(attributes.mail)) {
      this.#byAddress.set(address, dn)
    }
    const person = {
      objectClass: ['inetOrgPerson', 'galRecipient'],
      cn: 'recipient',
      sn: 'recipient',
    }
    return [dn, { ...person, ...(dn.startsWith('cn=') ? { cn: rdnValue(dn) } : {}), ...attributes }]
  }
}

function addressAttributes(address: string): Attributes & { dn?: string } {
  // mail is an IA5 string in the standard schema (RFC 4524 §2.16)
  const ascii = /^[\x20-\x7e]*$/.test(address)
  return { ...(ascii ? { mail: address } : {}), proxyAddresses: `SMTP:${address}` }
}

/** @param dn begins with `ou=` */
export const unitEntry = (dn: string): SlapdEntry => ({
  dn,
  objectClass: 'organizationalUnit',
  ou: /^ou=([^,]*)/.exec(dn)?.[1] ?? '',
  cn: undefined,
  sn: undefined,
})

const below = (rdn: string, base: string) => (base ? `${rdn},${base}` : rdn)

function flat(values: Values): readonly string[] {
  return values === undefined ? [] : [values].flat()
}

function rdnValue(dn: string): string {
  return /^cn=((?:\\.|[^,\\])*)/.exec(dn)?.[1]?.replace(/\\(.)/g, '$1') ?? 'recipient'
}

function firstLdif(base: string, entries: Iterable<SlapdEntry>, names: Names): string {
  const [, type = 'dc', value = 'corp'] = /^(\w+)=([^,]*)/.exec(base) ?? []
  const top =
    type === 'dc'
      ? { objectClass: ['dcObject', 'organization'], dc: value, o: value }
      : { objectClass: ['organization'], [type]: value }
  const reader = { objectClass: ['organizationalRole', 'simpleSecurityObject'], cn: 'reader' }
  const parts = [
    base ? ldifEntry(base, top) : '',
    ldifEntry(below('cn=reader', base), { ...reader, userPassword: READER_PASSWORD }),
  ]
  for (const entry of entries) parts.push(ldifEntry(...names.entry(entry)))
  return parts.join('')
}

/** The standard file lacks a matching rule for otherMailbox, without which it cannot be searched for. */
function cosineSchema(): string {
  return readFileSync('/etc/ldap/schema/cosine.schema', 'utf8').replace(
    /(NAME 'otherMailbox')\s+SYNTAX \S+/,
    '$1 EQUALITY caseIgnoreMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.15',
  )
}

function slapdConf(folder: string, base: string, options: SlapdOptions): string {
  const { tls, limits } = options
  return `
include /etc/ldap/schema/core.schema
include ${folder}/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
include ${folder}/mail.schema
${options.schema?.join('\n') ?? ''}
modulepath /usr/lib/ldap
moduleload back_mdb
${options.syncprov === false ? '' : 'moduleload syncprov'}
${options.memberOf ? 'moduleload memberof' : ''}
pidfile ${folder}/slapd.pid
loglevel 0
threads 4
${tls ? `TLSCertificateFile ${tls.cert}\nTLSCertificateKeyFile ${tls.key}` : ''}
${tls?.clientCa ? `TLSCACertificateFile ${tls.clientCa}\nTLSVerifyClient demand` : ''}
sizelimit ${limits?.size ?? 'unlimited'}
timelimit ${limits?.seconds ?? 'unlimited'}

${options.before?.join('\n') ?? ''}
database mdb
suffix "${base}"
rootdn "${below('cn=admin', base)}"
rootpw ${ADMIN_PASSWORD}
directory ${folder}
maxsize 4294967296
dbnosync
index objectClass,mail,proxyAddresses,targetAddress,otherMailbox,entryUUID,entryCSN eq
access to attrs=userPassword by anonymous auth by * none
${options.access?.join('\n') ?? ''}
access to * by * read
${options.syncprov === false ? '' : 'overlay syncprov'}
${options.memberOf ? 'overlay memberof' : ''}
${options.database?.join('\n') ?? ''}
`
}

/** The program faketime would stay the parent of slapd, and slapd would outlive it. */
function clockSetTo(clock: string): NodeJS.ProcessEnv {
  const args = ['-f', clock, 'printenv', 'LD_PRELOAD']
  const library = execFileSync('faketime', args, { encoding: 'utf8' }).trim()
  return { LD_PRELOAD: library, FAKETIME: clock }
}

function run(program: string, args: string[], input?: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const path = findProgram(program) ?? program
    // Loading a million entries from a file may take any time.
    const limits = { maxBuffer: 1 << 24, timeout: input === undefined ? 0 : PATIENCE }
    const child = execFile(path, args, limits, (error, _out, err) => {
      if (error) reject(new Error(`${program}: ${err || error.message}`))
      else resolve()
    })
    child.stdin?.end(input)
  })
}
