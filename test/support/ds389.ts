// A real 389 Directory Server for a test, with its own folder, on a free port of loopback, with the given
// entries. It is ended by its process id. Its configuration comes from the template that dscreate uses; dscreate
// itself writes outside of that folder and takes longer.
import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Attributes, ldifAdd, ldifDelete, ldifEntry, ldifMove, ldifReplace } from './ldif'
import { freePort, untilListening } from './ports'
import { type Child, startChild } from './processes'
import { findProgram, skipWithout } from './programs'
import { MAIL_SCHEMA } from './slapd'
import { until } from './until'

export interface Ds389Entry {
  readonly dn: string
  readonly attributes: Attributes
}

export interface Ds389Options {
  /** Entries below the suffix, whose own entry is added. */
  readonly entries?: readonly Ds389Entry[]
  /** Reports changes by RFC 4533; default true */
  readonly contentSync?: boolean
  /** Each entry has the groups that it is a member of. */
  readonly memberOf?: boolean
  /** `false`: without the mail attributes of Exchange; default true */
  readonly isForMail?: boolean
  /** More attribute types and object classes, written as for slapd.conf. */
  readonly schema?: readonly string[]
  /** More attributes of `cn=config`, such as limits. */
  readonly config?: Readonly<Record<string, string>>
}

export interface Ds389 {
  /** `ldap://127.0.0.1:port` */
  readonly url: string
  readonly base: string
  /** An account that may read everything, within the server's default limits. */
  readonly bindDn: string
  readonly password: string
  readonly pid: number
  /** Applies records as ldapmodify reads them, as the Directory Manager. */
  change(ldif: string): Promise<void>
  add(...entries: Ds389Entry[]): Promise<void>
  /** Replaces attributes; `[]` removes one. */
  modify(dn: string, attributes: Attributes): Promise<void>
  delete(...dns: string[]): Promise<void>
  /** Moves an entry and all entries below it. */
  move(dn: string, newSuperior: string, newRdn?: string): Promise<void>
  /** Backs the database up while the server runs. */
  backUp(): Promise<void>
  /** Restores the backup while the server runs. */
  restore(): Promise<void>
  /** Ends the server and starts it again on the same port. */
  restart(): Promise<void>
  /** Ends the server and removes its folder. */
  stop(): Promise<void>
}

const BASE = 'dc=corp,dc=test'
const READER = `cn=reader,${BASE}`
const READER_PASSWORD = 'reader-secret'
const MANAGER = 'cn=Directory Manager'
const MANAGER_PASSWORD = 'manager-secret'
const TEMPLATE = '/usr/share/dirsrv/data/template-dse.ldif'
const COLLATIONS = '/etc/dirsrv/config/slapd-collations.conf'
const FOLDERS = ['schema', 'db', 'bak', 'ldif', 'lock', 'log', 'run', 'tmp']

/** For the `skip` option of tests that start one. */
export function skipWithoutDs389(): string | false {
  const missing = skipWithout('ns-slapd', 'ldapmodify', 'ldapsearch')
  if (missing || existsSync(TEMPLATE)) return missing
  if (process.env.CI === 'true') throw new Error(`not there: ${TEMPLATE}`)
  return `not there: ${TEMPLATE}`
}

/** Starts a server and waits until it listens. */
export async function startDs389(options: Ds389Options = {}): Promise<Ds389> {
  const folder = mkdtempSync(join(tmpdir(), 'ds389-'))
  const port = await freePort()
  for (const name of FOLDERS) mkdirSync(join(folder, name))
  copyFileSync(COLLATIONS, join(folder, 'slapd-collations.conf'))
  const schema = [
    ...(options.isForMail === false ? [] : [MAIL_SCHEMA.trim()]),
    ...(options.schema ?? []),
  ]
  writeFileSync(join(folder, 'schema', '98mail.ldif'), schemaLdif(schema))
  writeFileSync(join(folder, 'dse.ldif'), configuration(folder, port, options))
  const ldif = join(folder, 'ldif', 'entries.ldif')
  writeFileSync(ldif, firstLdif(options.entries ?? []))
  const program = findProgram('ns-slapd') ?? 'ns-slapd'
  await run(program, ['ldif2db', '-D', folder, '-n', 'userroot', '-i', ldif])
  const start = async () => {
    const started = await startChild(program, ['-D', folder, '-i', join(folder, 'pid'), '-d', '0'])
    await untilListening(port, undefined, endOf(started))
    return started
  }
  let child = await start()

  const url = `ldap://127.0.0.1:${port}`
  const access = ['-x', '-H', url, '-D', MANAGER, '-w', MANAGER_PASSWORD]
  const change = async (text: string) => void (await run('ldapmodify', access, text))
  let tasks = 0
  async function task(kind: 'backup' | 'restore'): Promise<void> {
    const dn = `cn=${++tasks},cn=${kind},cn=tasks,cn=config`
    const attributes = {
      objectClass: 'extensibleObject',
      cn: String(tasks),
      nsArchiveDir: join(folder, 'bak', 'one'),
      nsDatabaseType: 'ldbm database',
    }
    await change(ldifAdd(dn, attributes))
    const search = ['-LLL', '-s', 'base', '-b', dn, 'nsTaskExitCode']
    let said = ''
    await until(async () => {
      said = await run('ldapsearch', [...access, ...search])
      return said.includes('nsTaskExitCode:')
    })
    if (!/nsTaskExitCode: 0/i.test(said)) throw new Error(`${kind}: ${said}`)
  }

  return {
    url,
    base: BASE,
    bindDn: READER,
    password: READER_PASSWORD,
    get pid() {
      return child.pid
    },
    change,
    add: (...entries) =>
      change(entries.map(({ dn, attributes }) => ldifAdd(dn, attributes)).join('')),
    modify: (dn, attributes) => change(ldifReplace(dn, attributes)),
    delete: (...dns) => change(dns.map(ldifDelete).join('')),
    move: (dn, newSuperior, newRdn) => change(ldifMove(dn, newSuperior, newRdn)),
    backUp: () => task('backup'),
    restore: () => task('restore'),
    async restart() {
      await child.end('SIGTERM')
      child = await start()
    },
    async stop() {
      await child.end('SIGTERM')
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

function endOf(child: Child): () => string | undefined {
  let isEnded = false
  void child.exited.then(() => {
    isEnded = true
  })
  return () => (isEnded ? `ns-slapd ended: ${child.output()}` : undefined)
}

/** @param schema as for OpenLDAP @returns it in the form of this server */
function schemaLdif(schema: readonly string[]): string {
  const lines = schema
    .join('\n')
    .replace(/^attributetype/gm, 'attributeTypes:')
    .replace(/^objectclass/gm, 'objectClasses:')
    .replace('otherMailbox $', '')
    // The server has these already, one of them with another OID.
    .replace(/^attributeTypes: [^\n]* NAME '(mailHost|mailRoutingAddress)'.*\n(?: .*\n)*/gm, '')
  return `dn: cn=schema\n${lines}\n`
}

function firstLdif(entries: readonly Ds389Entry[]): string {
  const aci =
    '(targetattr="*")(version 3.0; acl "all"; allow(read,search) userdn="ldap:///anyone";)'
  const reader = { objectClass: ['organizationalRole', 'simpleSecurityObject'], cn: 'reader' }
  return [
    ldifEntry(BASE, { objectClass: 'domain', dc: 'corp', aci }),
    ldifEntry(READER, { ...reader, userPassword: READER_PASSWORD }),
    ...entries.map(({ dn, attributes }) => ldifEntry(dn, attributes)),
  ].join('')
}

function configuration(folder: string, port: number, options: Ds389Options): string {
  const salt = Buffer.from('salt')
  const digest = createHash('sha1').update(MANAGER_PASSWORD).update(salt).digest()
  const values: Readonly<Record<string, string>> = {
    ...Object.fromEntries(FOLDERS.map((name) => [`${name}_dir`, join(folder, name)])),
    config_dir: folder,
    cert_dir: folder,
    inst_dir: folder,
    db_home_dir: join(folder, 'db'),
    db_lib: 'bdb',
    ds_port: String(port),
    ds_suffix: BASE,
    ds_user: process.env.USER ?? 'root',
    fqdn: 'localhost',
    ldapi: join(folder, 'run', 'ldapi'),
    ldapi_enabled: 'off',
    ldapi_autobind: 'off',
    rootdn: MANAGER,
    ds_passwd: `{SSHA}${Buffer.concat([digest, salt]).toString('base64')}`,
  }
  const on = [
    ...(options.contentSync === false ? [] : ['Content Synchronization', 'Retro Changelog Plugin']),
    ...(options.memberOf ? ['MemberOf Plugin'] : []),
  ]
  const records = readFileSync(TEMPLATE, 'utf8')
    .replace(/%(\w+)%/g, (_, name: string) => values[name] ?? '')
    .split(/\n{2,}/)
    .map((record) => record.trim())
    .map((record) => {
      const isOn = on.some((name) => record.startsWith(`dn: cn=${name},`))
      return isOn ? record.replace('pluginenabled: off', 'pluginenabled: on') : record
    })
    .map((record) => record + moreFor(record, options))
  const backend = { objectClass: ['extensibleObject', 'nsBackendInstance'], cn: 'userroot' }
  const mapping = { objectClass: ['extensibleObject', 'nsMappingTree'], cn: BASE }
  const database = 'cn=ldbm database,cn=plugins,cn=config'
  const own = [
    ldifEntry(`cn=userroot,${database}`, {
      ...backend,
      'nsslapd-suffix': BASE,
      'nsslapd-directory': join(folder, 'db', 'userroot'),
    }),
    ldifEntry('cn="dc=corp,dc=test",cn=mapping tree,cn=config', {
      ...mapping,
      'nsslapd-state': 'backend',
      'nsslapd-backend': 'userroot',
    }),
  ]
  return `${records.join('\n\n').trim()}\n\n${own.join('')}`
}

/** No data must survive a power failure, and several servers share the machine. */
const SMALL = {
  'nsslapd-cache-autosize': '0',
  'nsslapd-dbcachesize': '10000000',
  'nsslapd-db-durable-transaction': 'off',
}

function moreFor(record: string, { config = {} }: Ds389Options): string {
  const more = record.startsWith('dn: cn=config,cn=ldbm database,')
    ? SMALL
    : record.startsWith('dn: cn=config\n')
      ? { 'nsslapd-accesslog-logging-enabled': 'off', ...config }
      : {}
  return Object.entries(more)
    .map(([name, value]) => `\n${name}: ${value}`)
    .join('')
}

/** @returns its output */
function run(program: string, args: string[], input?: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const path = findProgram(program) ?? program
    const child = execFile(path, args, { maxBuffer: 1 << 24 }, (error, out, err) => {
      if (error) reject(new Error(`${program}: ${err || out || error.message}`))
      else resolve(out)
    })
    child.stdin?.end(input)
  })
}
