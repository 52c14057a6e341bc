// The kinds of directory that the same tests run against: OpenLDAP, Active Directory and 389 Directory
// Server.
import type { LdapSettings } from '../../plugins/gal-relay/settings/settings'
import { makeAuthority } from '../support/certificates'
import { skipWithoutDs389, startDs389 } from '../support/ds389'
import type { Attributes } from '../support/ldif'
import { skipWithout } from '../support/programs'
import { skipWithoutSamba, startSamba } from '../support/samba'
import { type SlapdOptions, startSlapd, unitEntry } from '../support/slapd'
import { serverUrl } from './lists'

/** An entry that each directory can hold. */
export interface TestEntry {
  readonly name: string
  readonly kind?: 'person' | 'disabled account' | 'group' | 'contact'
  /** In this container below the base, which exists: `ou=one` or `ou=two`. */
  readonly in?: 'one' | 'two'
  readonly attributes: Attributes
  /** Takes mail from authenticated senders only. */
  readonly authenticatedOnly?: boolean
}

/** How a directory is reached. */
export type Access = 'clear' | 'StartTLS' | 'TLS' | 'Global Catalog' | 'Global Catalog with TLS'

export interface TestDirectory {
  readonly base: string
  /** The attribute that stands for msExchRequireAuthToSendTo. */
  readonly flag: string
  settings(access?: Access): Partial<LdapSettings>
  dn(entry: TestEntry): string
  add(...entries: TestEntry[]): Promise<void>
  /** Replaces attributes; `[]` removes one. */
  modify(entry: TestEntry, attributes: Attributes): Promise<void>
  remove(entry: TestEntry): Promise<void>
  /** Brings back what was removed: the same object where the directory can do that. */
  restore(entry: TestEntry): Promise<void>
  /** Gives an entry the other's name and container. */
  move(entry: TestEntry, to: TestEntry): Promise<void>
  /** Puts the container `ou=two` below `ou=one`, or back below the base. */
  moveContainer(below: 'one' | 'base'): Promise<void>
  /** Settings for an account that may read, and has no other rights. */
  ordinary(): Promise<Partial<LdapSettings>>
  stop(): Promise<void>
}

export interface DirectoryKind {
  readonly name: string
  readonly skip: string | false
  readonly accesses: readonly Access[]
  start(options?: Pick<SlapdOptions, 'syncprov' | 'memberOf'>): Promise<TestDirectory>
}

export const OPENLDAP: DirectoryKind = {
  name: 'OpenLDAP',
  skip: skipWithout('slapd', 'slapadd', 'ldapmodify', 'openssl'),
  accesses: ['clear', 'StartTLS', 'TLS', 'Global Catalog'],
  async start(options) {
    const authority = makeAuthority()
    const slapd = await startSlapd({
      ...options,
      tls: authority.issue(),
      // Answers a search with an empty base as a Global Catalog does.
      schema: ['defaultsearchbase "dc=corp,dc=test"'],
      entries: ['one', 'two'].map((ou) => unitEntry(`ou=${ou},dc=corp,dc=test`)),
    })
    const { base } = slapd
    const dn = (entry: TestEntry) => `cn=${entry.name},${entry.in ? `ou=${entry.in},` : ''}${base}`
    const add = (...entries: TestEntry[]) =>
      slapd.add(
        ...entries.map((entry) => ({
          ...(entry.authenticatedOnly ? { msExchRequireAuthToSendTo: 'TRUE' } : {}),
          ...(entry.kind === 'disabled account' ? { userAccountControl: '514' } : {}),
          ...(entry.kind === 'group'
            ? { objectClass: ['groupOfNames', 'galRecipient'], member: base, sn: undefined }
            : {}),
          ...entry.attributes,
          dn: dn(entry),
        })),
      )
    return {
      base,
      flag: 'msExchRequireAuthToSendTo',
      dn,
      settings: (access = 'clear') => ({
        url: [serverUrl(access === 'TLS' ? slapd.tlsUrl : slapd.url)],
        base: [access === 'Global Catalog' ? '' : base],
        bind_dn: slapd.bindDn,
        bind_password: slapd.password,
        starttls: access === 'StartTLS',
        tls_ca: authority.ca,
      }),
      add,
      restore: add,
      modify: (entry, attributes) => slapd.modify(dn(entry), attributes),
      remove: (entry) => slapd.delete(dn(entry)),
      move: (entry, to) => slapd.move(dn(entry), containerOf(dn(to)), rdnOf(dn(to))),
      moveContainer: (below) =>
        below === 'one'
          ? slapd.move(`ou=two,${base}`, `ou=one,${base}`)
          : slapd.move(`ou=two,ou=one,${base}`, base),
      ordinary: async () => ({ bind_dn: slapd.bindDn, bind_password: slapd.password }),
      async stop() {
        await slapd.stop()
        authority.remove()
      },
    }
  },
}

export const ACTIVE_DIRECTORY: DirectoryKind = {
  name: 'Active Directory',
  skip: skipWithoutSamba(),
  accesses: ['clear', 'StartTLS', 'TLS', 'Global Catalog', 'Global Catalog with TLS'],
  async start() {
    const samba = await startSamba()
    const { host, base } = samba
    for (const ou of ['one', 'two']) {
      const attributes = { objectClass: 'organizationalUnit', ou }
      await samba.add({ dn: `ou=${ou},${base}`, attributes })
    }
    const urls: Readonly<Record<Access, string>> = {
      clear: `ldap://${host}:389`,
      StartTLS: `ldap://${host}:389`,
      TLS: `ldaps://${host}:636`,
      'Global Catalog': `ldap://${host}:3268`,
      'Global Catalog with TLS': `ldaps://${host}:3269`,
    }
    const dn = (entry: TestEntry) =>
      `cn=${entry.name},${entry.in ? `ou=${entry.in}` : 'cn=Users'},${base}`
    return {
      base,
      // The schema has no attributes of Exchange; this one is a boolean of anyone's.
      flag: 'showInAdvancedViewOnly',
      dn,
      settings: (access = 'clear') => ({
        url: [serverUrl(urls[access])],
        base: [access.startsWith('Global Catalog') ? '' : base],
        bind_dn: samba.bindDn,
        bind_password: samba.password,
        starttls: access === 'StartTLS',
        tls_ca: samba.ca,
      }),
      add: (...entries) =>
        samba.add(
          ...entries.map((entry) => {
            const account = { objectClass: 'user', sAMAccountName: entry.name }
            const kind = {
              person: account,
              'disabled account': { ...account, userAccountControl: '514' },
              group: { objectClass: 'group', sAMAccountName: entry.name },
              contact: { objectClass: 'contact' },
            }[entry.kind ?? 'person']
            const flag = entry.authenticatedOnly ? { showInAdvancedViewOnly: 'TRUE' } : {}
            return { dn: dn(entry), attributes: { ...kind, ...flag, ...entry.attributes } }
          }),
        ),
      modify: (entry, attributes) => samba.modify(dn(entry), attributes),
      remove: (entry) => samba.delete(dn(entry)),
      restore: (entry) => samba.restore(dn(entry), entry.attributes),
      move: (entry, to) => samba.move(dn(entry), containerOf(dn(to)), rdnOf(dn(to))),
      moveContainer: (below) =>
        below === 'one'
          ? samba.move(`ou=two,${base}`, `ou=one,${base}`)
          : samba.move(`ou=two,ou=one,${base}`, base),
      async ordinary() {
        const bind_password = 'Ordinary-Secret1'
        return { bind_dn: await samba.addAccount('ordinary', bind_password), bind_password }
      },
      stop: () => samba.stop(),
    }
  },
}

export const DS389: DirectoryKind = {
  name: '389 Directory Server',
  skip: skipWithoutDs389(),
  accesses: ['clear'],
  async start({ syncprov = true, memberOf = false } = {}) {
    const ds = await startDs389({
      contentSync: syncprov,
      memberOf,
      entries: ['one', 'two'].map((ou) => ({
        dn: `ou=${ou},dc=corp,dc=test`,
        attributes: { objectClass: 'organizationalUnit', ou },
      })),
    })
    const { base } = ds
    const dn = (entry: TestEntry) => `cn=${entry.name},${entry.in ? `ou=${entry.in},` : ''}${base}`
    const account = { bind_dn: ds.bindDn, bind_password: ds.password }
    const add = (...entries: TestEntry[]) =>
      ds.add(
        ...entries.map((entry) => ({
          dn: dn(entry),
          attributes: {
            objectClass: ['inetOrgPerson', 'galRecipient'],
            cn: entry.name,
            sn: entry.name,
            ...(entry.authenticatedOnly ? { msExchRequireAuthToSendTo: 'TRUE' } : {}),
            ...(entry.kind === 'disabled account' ? { userAccountControl: '514' } : {}),
            ...(entry.kind === 'group'
              ? { objectClass: ['groupOfNames', 'galRecipient'], member: base, sn: undefined }
              : {}),
            ...entry.attributes,
          },
        })),
      )
    return {
      base,
      flag: 'msExchRequireAuthToSendTo',
      dn,
      settings: () => ({ url: [serverUrl(ds.url)], base: [base], ...account }),
      add,
      restore: add,
      modify: (entry, attributes) => ds.modify(dn(entry), attributes),
      remove: (entry) => ds.delete(dn(entry)),
      move: (entry, to) => ds.move(dn(entry), containerOf(dn(to)), rdnOf(dn(to))),
      moveContainer: (below) =>
        below === 'one'
          ? ds.move(`ou=two,${base}`, `ou=one,${base}`)
          : ds.move(`ou=two,ou=one,${base}`, base),
      ordinary: async () => account,
      stop: () => ds.stop(),
    }
  },
}

const rdnOf = (dn: string) => dn.slice(0, dn.indexOf(','))
const containerOf = (dn: string) => dn.slice(dn.indexOf(',') + 1)
