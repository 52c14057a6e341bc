// A real Active Directory for a test: a Samba domain controller in a temporary folder. Its ports (389, 636, and
// 3268, 3269 for the Global Catalog) cannot be changed, so it has its own loopback address, and needs root.
// Provisioning takes some seconds. It is done once in a run of the tests, and each controller starts from a copy.
import { execFile } from 'node:child_process'
import { randomInt } from 'node:crypto'
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type CertificateAuthority, makeAuthority } from './certificates'
import { type Attributes, ldifAdd, ldifDelete, ldifMove, ldifReplace, ldifRestore } from './ldif'
import { untilListening } from './ports'
import { startChild } from './processes'
import { findProgram, skipWithout } from './programs'
import { until } from './until'

export interface SambaEntry {
  readonly dn: string
  readonly attributes: Attributes
}

export interface Samba {
  /** The address of the domain controller. Its certificate is for this address and `dc.corp.test`. */
  readonly host: string
  /** PEM file of the CA that signed its certificate */
  readonly ca: string
  readonly base: string
  readonly bindDn: string
  readonly password: string
  readonly pid: number
  /** The path of its smb.conf. */
  readonly conf: string
  add(...entries: SambaEntry[]): Promise<void>
  /** Replaces attributes; `[]` removes one. */
  modify(dn: string, attributes: Attributes): Promise<void>
  delete(...dns: string[]): Promise<void>
  /** Restores a deleted entry as the same object. @param attributes those that it lost when it was deleted */
  restore(dn: string, attributes: Attributes): Promise<void>
  /** Moves an entry and all entries below it. */
  move(dn: string, newSuperior: string, newRdn?: string): Promise<void>
  /** Adds the attributes of Exchange that say where a mailbox is to the schema. */
  extendSchema(): Promise<void>
  /**
   * Hides an attribute of an entry.
   * @param guid of the attribute, as in the schema
   * @param from the SID of those who may not read it; default all accounts
   */
  hide(dn: string, guid: string, from?: string): Promise<void>
  /** Lets only accounts with Control Access read an attribute. @param name of its entry in the schema */
  makeConfidential(name: string): Promise<void>
  /** Lets an account ask for changes by DirSync (the right Replicating Directory Changes), and no more. */
  allowDirSync(name: string): Promise<void>
  /** Adds an account with no special rights. @returns its bind name */
  addAccount(name: string, password: string): Promise<string>
  /** Adds a group with these accounts; its DN is `CN=name,CN=Users,` and the base. @returns its SID */
  addGroup(name: string, members: readonly string[]): Promise<string>
  /** Ends the server and removes its folder. */
  stop(): Promise<void>
}

const BASE = 'dc=corp,dc=test'
const PASSWORD = 'Adm1n-Secret!'
/** Milliseconds for another test file to provision the domain, however busy the machine is. */
const PATIENCE = 180_000

const SCHEMA_UPDATE = 'dn:\nchangetype: modify\nadd: schemaUpdateNow\nschemaUpdateNow: 1\n-\n\n'

/** The parts of Exchange's schema that the tests need. */
const EXCHANGE_SCHEMA = [
  attributeSchema('ms-Exch-Target-Address', 'targetAddress', '1.2.840.113556.1.2.352'),
  attributeSchema(
    'ms-Exch-Home-Server-Name',
    'msExchHomeServerName',
    '1.2.840.113556.1.4.7000.102.47',
  ),
  SCHEMA_UPDATE,
  // The class of all entries that have mail.
  `dn: CN=Mail-Recipient,CN=Schema,CN=Configuration,${BASE}\nchangetype: modify\n` +
    'add: mayContain\nmayContain: targetAddress\nmayContain: msExchHomeServerName\n-\n\n',
  SCHEMA_UPDATE,
].join('')

/** The definition of a single-valued string attribute. */
function attributeSchema(cn: string, name: string, oid: string): string {
  return ldifAdd(`CN=${cn},CN=Schema,CN=Configuration,${BASE}`, {
    objectClass: 'attributeSchema',
    cn,
    attributeID: oid,
    lDAPDisplayName: name,
    adminDisplayName: name,
    attributeSyntax: '2.5.5.12',
    oMSyntax: '64',
    isSingleValued: 'TRUE',
    searchFlags: '1',
  })
}

/** For the `skip` option of tests that start one. */
export function skipWithoutSamba(): string | false {
  const missing = skipWithout('samba', 'samba-tool', 'ldapmodify', 'openssl')
  if (missing || process.getuid?.() === 0) return missing
  if (process.env.CI === 'true') throw new Error('samba needs root')
  return 'samba needs root'
}

/** Starts the controller of a domain corp.test. */
export async function startSamba(): Promise<Samba> {
  const folder = mkdtempSync(join(tmpdir(), 'samba-'))
  const host = `127.${randomInt(1, 255)}.${randomInt(1, 255)}.${randomInt(2, 255)}`
  const authority = makeAuthority()
  const conf = await copyDomain(folder, host, authority)
  const child = await startChild(findProgram('samba') ?? 'samba', [
    '-i',
    '-M',
    'single',
    '-s',
    conf,
  ])
  let isEnded = false
  void child.exited.then(() => {
    isEnded = true
  })
  const ended = () => (isEnded ? `samba ended: ${child.output()}` : undefined)
  for (const port of [389, 636, 3268, 3269]) await untilListening(port, undefined, ended, host)

  const bindDn = `cn=Administrator,cn=Users,${BASE}`
  const access = ['-x', '-H', `ldap://${host}`, '-D', bindDn, '-w', PASSWORD]
  const change = async (ldif: string) => void (await run('ldapmodify', access, ldif))
  const sidOf = async (kind: 'user' | 'group', name: string) => {
    const show = [kind, 'show', name, '--attributes=objectSid', '-s', conf]
    return /^objectSid: (\S+)/m.exec(await run('samba-tool', show))?.[1] ?? ''
  }
  return {
    host,
    ca: authority.ca,
    base: BASE,
    bindDn,
    password: PASSWORD,
    pid: child.pid,
    conf,
    add: (...entries) =>
      change(entries.map(({ dn, attributes }) => ldifAdd(dn, attributes)).join('')),
    modify: (dn, attributes) => change(ldifReplace(dn, attributes)),
    delete: (...dns) => change(dns.map(ldifDelete).join('')),
    async restore(dn, attributes) {
      const [, name = ''] = /^cn=([^,]*),/.exec(dn) ?? []
      const show = [...access, '-e', '!1.2.840.113556.1.4.417']
      const filter = `(&(isDeleted=TRUE)(cn=${name}\\0ADEL:*))`
      const search = ['-LLL', '-o', 'ldif-wrap=no', '-b', BASE, filter, 'dn']
      const found = await run('ldapsearch', [...show, ...search])
      const [, deleted = ''] = /^dn: (.*)$/m.exec(found) ?? []
      await run('ldapmodify', show, ldifRestore(deleted, dn, attributes))
    },
    move: (dn, newSuperior, newRdn) => change(ldifMove(dn, newSuperior, newRdn)),
    extendSchema: () => change(EXCHANGE_SCHEMA),
    async hide(dn, guid, from = 'AU') {
      const rule = `(OD;;RP;${guid};;${from})`
      const set = ['dsacl', 'set', `--objectdn=${dn}`, '--action=deny', `--sddl=${rule}`]
      await run('samba-tool', [...set, '-s', conf])
    },
    makeConfidential: (name) =>
      change(
        ldifReplace(`CN=${name},CN=Schema,CN=Configuration,${BASE}`, { searchFlags: '128' }) +
          SCHEMA_UPDATE,
      ),
    async allowDirSync(name) {
      const rule = `(OA;;CR;1131f6aa-9c07-11d1-f79f-00c04fc2dcd2;;${await sidOf('user', name)})`
      const set = ['dsacl', 'set', `--objectdn=${BASE}`, '--action=allow', `--sddl=${rule}`]
      await run('samba-tool', [...set, '-s', conf])
    },
    async addAccount(name, password) {
      await run('samba-tool', ['user', 'create', name, password, '-s', conf])
      return `${name}@corp.test`
    },
    async addGroup(name, members) {
      await run('samba-tool', ['group', 'add', name, '-s', conf])
      await run('samba-tool', ['group', 'addmembers', name, members.join(','), '-s', conf])
      return sidOf('group', name)
    },
    async stop() {
      await child.end('SIGTERM')
      authority.remove()
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

/** The folder of the test run, or of this process if a test file is run by itself. */
const RUN_FOLDER = process.env.TEST_RUN_FOLDER ?? ownRunFolder()

function ownRunFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'samba-run-'))
  process.on('exit', () => rmSync(folder, { recursive: true, force: true }))
  return folder
}

let provisioned: Promise<string> | undefined

/**
 * Test files that ask at the same time wait for the first one: provisioning takes several seconds of a processor.
 * @returns the folder of a domain that no controller has run in
 */
async function provision(): Promise<string> {
  const domain = join(RUN_FOLDER, 'samba')
  const lock = `${domain}.lock`
  await until(() => existsSync(domain) || isTaken(lock), 'a domain is provisioned', PATIENCE)
  if (existsSync(domain)) return domain
  try {
    renameSync(await provisionOnce(), domain)
  } finally {
    rmSync(lock, { recursive: true })
  }
  return domain
}

/** @returns whether this process has made the folder, and not another one */
function isTaken(lock: string): boolean {
  try {
    mkdirSync(lock)
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false
    throw error
  }
}

async function provisionOnce(): Promise<string> {
  const folder = mkdtempSync(join(RUN_FOLDER, 'provision-'))
  // Samba would read the smb.conf of the system.
  const empty = join(folder, 'empty.conf')
  writeFileSync(empty, '[global]\n')
  await run('samba-tool', [
    ...['domain', 'provision', '-s', empty, '--realm=CORP.TEST', '--domain=CORP'],
    ...['--server-role=dc', '--dns-backend=NONE', `--adminpass=${PASSWORD}`, '--host-name=dc'],
    ...[`--targetdir=${folder}`, '--use-rfc2307', '--host-ip=127.0.0.1'],
  ])
  const conf = join(folder, 'etc', 'smb.conf')
  writeFileSync(conf, readFileSync(conf, 'utf8').replaceAll(folder, FOLDER))
  return folder
}

/** The placeholder in smb.conf for the folder of a copy. */
const FOLDER = '@FOLDER@'

/** @returns the path of the copy's smb.conf */
async function copyDomain(
  folder: string,
  host: string,
  authority: CertificateAuthority,
): Promise<string> {
  provisioned ??= provision()
  cpSync(await provisioned, folder, { recursive: true })
  const conf = join(folder, 'etc', 'smb.conf')
  const { cert, key } = authority.issue({ names: [`IP:${host}`, 'DNS:dc.corp.test'] })
  const settings = [
    `interfaces = ${host}/8`,
    'bind interfaces only = yes',
    'server services = ldap',
    'ldap server require strong auth = no',
    'dsdb:schema update allowed = yes',
    `pid directory = ${folder}`,
    `log file = ${folder}/log`,
    `tls certfile = ${cert}`,
    `tls keyfile = ${key}`,
    `tls cafile = ${authority.ca}`,
  ]
  const text = readFileSync(conf, 'utf8')
    .replace(/^\s*server services = .*\n/m, '')
    .replaceAll(FOLDER, folder)
  writeFileSync(conf, text.replace('[global]\n', `[global]\n${settings.join('\n')}\n`))
  return conf
}

/** @returns its output */
function run(program: string, args: string[], input?: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const path = findProgram(program) ?? program
    const child = execFile(path, args, { maxBuffer: 1 << 24 }, (error, out, err) => {
      if (error) reject(new Error(`${program}: ${err || error.message}`))
      else resolve(out)
    })
    child.stdin?.end(input)
  })
}
