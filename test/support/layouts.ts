// Entries as mail systems create them in their directories, with the parts of the schemas that they need.
import type { Ds389Entry } from './ds389'
import type { Attributes } from './ldif'
import type { SlapdEntry, SlapdOptions } from './slapd'

/** The password of the account that looks recipients up. */
export const PASSWORD = 'Pa55-word!'

const IA5 = 'EQUALITY caseIgnoreIA5Match SYNTAX 1.3.6.1.4.1.1466.115.121.1.26'
const DIRECTORY = 'EQUALITY caseIgnoreMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.15'
const attribute = (oid: string, name: string, rest: string) =>
  `attributetype ( ${oid} NAME '${name}' ${rest} )`
// Only the names of object classes matter. These OIDs are from OpenLDAP's arc for experiments.
let classes = 0
const objectClass = (name: string, kind: string, may: string, must = '') =>
  `objectclass ( 1.3.6.1.4.1.4203.666.3.7${String(++classes).padStart(2, '0')} NAME '${name}' ` +
  `SUP top ${kind} ${must && `MUST ${must}`} MAY ( ${may} ) )`

/** An entry without the attributes that people in other tests have. */
const entry = (
  dn: string,
  classes: string | string[],
  attributes: Attributes = {},
): SlapdEntry => ({
  dn,
  cn: undefined,
  sn: undefined,
  objectClass: classes,
  ...attributes,
})
const unit = (dn: string): SlapdEntry => {
  const [, type = 'ou', name = ''] = /^(\w+)=([^,]*)/.exec(dn) ?? []
  const kind = {
    ou: 'organizationalUnit',
    o: 'organization',
    cn: 'organizationalRole',
    dc: 'domain',
  }
  return entry(dn, kind[type as keyof typeof kind], { [type]: name })
}

// ── Zimbra ───────────────────────────────────────────────────────────────────────────────────────

/** @param folder where the database of its own accounts, a tree of its own, may have its files */
export function zimbra(folder: string): SlapdOptions {
  const email = IA5
  const postfix = 'uid=zmpostfix,cn=appaccts,cn=zimbra'
  const account = (name: string, domain: string, attributes: Attributes = {}) =>
    entry(`uid=${name},ou=people,${domain}`, ['inetOrgPerson', 'zimbraAccount'], {
      uid: name,
      cn: name,
      sn: name,
      zimbraMailDeliveryAddress: `${name}@${domain.replace(/,?dc=/g, '.').slice(1)}`,
      zimbraMailStatus: 'enabled',
      zimbraAccountStatus: 'active',
      ...attributes,
    })
  const com = 'dc=example,dc=com'
  const net = 'dc=example,dc=net'
  return {
    // One database for all domains.
    suffix: '',
    schema: [
      attribute('1.3.6.1.4.1.19348.2.1.13', 'zimbraMailDeliveryAddress', email),
      attribute('1.3.6.1.4.1.19348.2.1.20', 'zimbraMailAlias', email),
      attribute('1.3.6.1.4.1.19348.2.1.29', 'zimbraMailForwardingAddress', email),
      attribute('1.3.6.1.4.1.19348.2.1.15', 'zimbraMailStatus', IA5),
      attribute('1.3.6.1.4.1.19348.2.1.2', 'zimbraAccountStatus', IA5),
      objectClass(
        'zimbraAccount',
        'AUXILIARY',
        'mail $ zimbraMailDeliveryAddress $ zimbraMailAlias $ zimbraMailStatus $ zimbraAccountStatus',
      ),
      objectClass(
        'zimbraDistributionList',
        'STRUCTURAL',
        'uid $ mail $ zimbraMailAlias $ zimbraMailForwardingAddress $ zimbraMailStatus',
      ),
    ],
    before: [
      'database ldif',
      'suffix "cn=zimbra"',
      `directory ${folder}`,
      `rootdn "${postfix}"`,
      `rootpw ${PASSWORD}`,
    ],
    access: [
      `access to attrs=entry,objectClass,zimbraMailDeliveryAddress,zimbraMailAlias,zimbraMailStatus by dn.exact="${postfix}" read by * none`,
      'access to attrs=children by * read',
      'access to * by * none',
    ],
    entries: [
      unit('dc=com'),
      unit('dc=net'),
      ...[com, net].flatMap((domain) => [unit(domain), unit(`ou=people,${domain}`)]),
      account('alice', com, {
        mail: ['alice@example.com', 'a.adams@example.com', 'alice@example.net'],
        zimbraMailAlias: ['a.adams@example.com', 'alice@example.net'],
      }),
      account('carol', net),
      account('locked', com, { zimbraAccountStatus: 'locked' }),
      account('bob', com, { zimbraAccountStatus: 'closed', zimbraMailStatus: 'disabled' }),
      entry(`uid=team,ou=people,${com}`, 'zimbraDistributionList', {
        uid: 'team',
        mail: 'team@example.com',
        zimbraMailAlias: 'team@example.com',
        zimbraMailForwardingAddress: ['alice@example.com', 'member@example.com'],
        zimbraMailStatus: 'enabled',
      }),
    ],
  }
}

// ── Univention Corporate Server ──────────────────────────────────────────────────────────────────

export function univention(base: string): SlapdOptions {
  const OID = '1.3.6.1.4.1.10176.1010'
  const addresses = 'mailPrimaryAddress $ mailAlternativeAddress $ univentionMailHomeServer'
  const user = (name: string, attributes: Attributes) =>
    entry(`uid=${name},cn=users,${base}`, ['inetOrgPerson', 'univentionMail'], {
      uid: name,
      cn: name,
      sn: name,
      univentionMailHomeServer: 'ucs-mail.corp.example',
      ...attributes,
    })
  return {
    schema: [
      'include /etc/ldap/schema/nis.schema',
      attribute(`${OID}.1.1`, 'mailPrimaryAddress', `${IA5} SINGLE-VALUE`),
      attribute(`${OID}.1.2`, 'mailAlternativeAddress', IA5),
      attribute(`${OID}.1.60`, 'univentionMailHomeServer', `${DIRECTORY} SINGLE-VALUE`),
      objectClass('univentionMail', 'AUXILIARY', addresses, 'uid'),
      objectClass('univentionMailSharedFolder', 'AUXILIARY', addresses),
      objectClass('univentionGroup', 'AUXILIARY', addresses),
      objectClass('univentionMailList', 'STRUCTURAL', 'mailPrimaryAddress', 'cn'),
      objectClass('univentionUserTemplate', 'STRUCTURAL', 'mailPrimaryAddress', 'cn'),
    ],
    access: [`access to attrs=mailPrimaryAddress,mailAlternativeAddress by users read by * none`],
    entries: [
      ...['users', 'groups', 'mail', 'templates'].map((name) => unit(`cn=${name},${base}`)),
      entry(`uid=haraka,cn=users,${base}`, ['account', 'simpleSecurityObject'], {
        uid: 'haraka',
        userPassword: PASSWORD,
      }),
      user('alice', {
        mailPrimaryAddress: 'alice@example.com',
        mailAlternativeAddress: ['a.adams@example.com', 'alice@example.net'],
        mail: 'private@example.com',
      }),
      // Disabled, as far as the shadow password and Samba are concerned.
      user('bob', {
        objectClass: ['inetOrgPerson', 'univentionMail', 'shadowAccount'],
        mailPrimaryAddress: 'bob@example.com',
        univentionMailHomeServer: 'ucs-mail2.corp.example',
        shadowExpire: '1',
      }),
      entry(`cn=sales,cn=groups,${base}`, ['posixGroup', 'univentionGroup'], {
        cn: 'sales',
        gidNumber: '5001',
        mailPrimaryAddress: 'sales@example.com',
      }),
      entry(`cn=team,cn=mail,${base}`, 'univentionMailList', {
        cn: 'team',
        mailPrimaryAddress: 'team@example.com',
      }),
      entry(
        `cn=folder@example.com,cn=mail,${base}`,
        ['organizationalRole', 'univentionMailSharedFolder'],
        { cn: 'folder@example.com', mailPrimaryAddress: 'folder@example.com' },
      ),
      entry(`cn=staff,cn=templates,${base}`, 'univentionUserTemplate', {
        cn: 'staff',
        mailPrimaryAddress: 'nobody@example.com',
      }),
    ],
  }
}

// ── iRedMail ─────────────────────────────────────────────────────────────────────────────────────

export function iredmail(base: string): SlapdOptions {
  const OID = '1.3.6.1.4.1.32349.1.2'
  const common = 'mail $ cn $ accountStatus $ domainStatus $ enabledService $ shadowAddress'
  const domains = `o=domains,${base}`
  const domain = `domainName=example.com,${domains}`
  const active = { accountStatus: 'active', enabledService: ['mail', 'deliver'] }
  const user = (name: string, attributes: Attributes = {}) =>
    entry(`mail=${name}@example.com,ou=Users,${domain}`, ['inetOrgPerson', 'mailUser'], {
      uid: name,
      cn: name,
      sn: name,
      mail: `${name}@example.com`,
      ...active,
      ...attributes,
    })
  return {
    schema: [
      attribute(`${OID}.1.1`, 'domainName', IA5),
      attribute(`${OID}.1.3`, 'domainStatus', IA5),
      attribute(`${OID}.1.19`, 'domainAliasName', IA5),
      attribute(`${OID}.2.8`, 'mailForwardingAddress', IA5),
      attribute(`${OID}.2.9`, 'accountStatus', IA5),
      attribute(`${OID}.2.13`, 'enabledService', IA5),
      attribute(`${OID}.2.14`, 'memberOfGroup', IA5),
      attribute(`${OID}.2.19`, 'shadowAddress', IA5),
      objectClass(
        'mailDomain',
        'STRUCTURAL',
        'accountStatus $ domainAliasName $ enabledService',
        'domainName',
      ),
      objectClass('mailUser', 'AUXILIARY', `${common} $ memberOfGroup`, '( mail $ uid )'),
      objectClass('mailAlias', 'STRUCTURAL', `${common} $ mailForwardingAddress`, 'mail'),
      objectClass('mailList', 'STRUCTURAL', common, 'mail'),
      objectClass('mailExternalUser', 'STRUCTURAL', common, 'memberOfGroup'),
      objectClass('mailAdmin', 'STRUCTURAL', common, 'mail'),
    ],
    access: [`access to dn.subtree="${domains}" by dn.exact="cn=vmail,${base}" read by * none`],
    entries: [
      entry(`cn=vmail,${base}`, ['organizationalRole', 'simpleSecurityObject'], {
        cn: 'vmail',
        userPassword: PASSWORD,
      }),
      unit(`o=domainAdmins,${base}`),
      entry(`mail=nobody@example.com,o=domainAdmins,${base}`, 'mailAdmin', {
        mail: 'nobody@example.com',
        ...active,
      }),
      unit(domains),
      entry(domain, 'mailDomain', {
        domainName: 'example.com',
        domainAliasName: 'example.net',
        accountStatus: 'active',
        enabledService: ['mail', 'domainalias'],
      }),
      ...['Users', 'Groups', 'Aliases', 'Externals'].map((name) => unit(`ou=${name},${domain}`)),
      user('alice', { shadowAddress: ['a.adams@example.com', 'alice@example.net'] }),
      user('bob', { accountStatus: 'disabled' }),
      user('nodeliver', { enabledService: ['mail', 'imap'] }),
      user('gone', { domainStatus: 'disabled' }),
      entry(`mail=team@example.com,ou=Groups,${domain}`, 'mailList', {
        mail: 'team@example.com',
        ...active,
      }),
      entry(`mail=info@example.com,ou=Aliases,${domain}`, 'mailAlias', {
        mail: 'info@example.com',
        mailForwardingAddress: 'alice@example.com',
        ...active,
      }),
      entry(`memberOfGroup=team@example.com,ou=Externals,${domain}`, 'mailExternalUser', {
        memberOfGroup: 'team@example.com',
        mail: 'external@example.com',
        ...active,
      }),
    ],
  }
}

// ── sendmail ─────────────────────────────────────────────────────────────────────────────────────

export function sendmail(base: string): SlapdOptions {
  const person = (name: string, attributes: Attributes, classes = ['inetLocalMailRecipient']) =>
    entry(`uid=${name},ou=people,${base}`, ['inetOrgPerson', ...classes], {
      uid: name,
      cn: name,
      sn: name,
      ...attributes,
    })
  return {
    // As in misc.schema, of which the tests' own schema has a part.
    schema: [
      attribute('2.16.840.1.113730.3.1.13', 'mailLocalAddress', IA5),
      objectClass(
        'inetLocalMailRecipient',
        'AUXILIARY',
        'mailLocalAddress $ mailHost $ mailRoutingAddress',
      ),
    ],
    database: ['index mailLocalAddress eq'],
    entries: [
      ...['people', 'groups', 'services'].map((name) => unit(`ou=${name},${base}`)),
      entry(`cn=haraka,ou=services,${base}`, ['organizationalRole', 'simpleSecurityObject'], {
        cn: 'haraka',
        userPassword: PASSWORD,
      }),
      person('alice', {
        mailLocalAddress: ['alice@example.com', 'a.adams@example.com', 'alice@example.net'],
        mailRoutingAddress: 'alice@hub.example.com',
        mailHost: 'hub.example.com',
        mail: 'business-card@example.com',
      }),
      person('bob', {
        mailLocalAddress: 'bob@example.com',
        mailRoutingAddress: 'bob@elsewhere.example',
      }),
      entry(`cn=team,ou=groups,${base}`, ['groupOfNames', 'inetLocalMailRecipient'], {
        cn: 'team',
        member: `uid=alice,ou=people,${base}`,
        mailLocalAddress: 'team@example.com',
      }),
      person('carol', { mail: 'nobody@example.com' }, []),
    ],
  }
}

// ── FreeIPA ──────────────────────────────────────────────────────────────────────────────────────

const there = (dn: string, classes: string | string[], attributes: Attributes): Ds389Entry => ({
  dn,
  attributes: { objectClass: classes, ...attributes },
})
const container = (dn: string): Ds389Entry => {
  const [, type = '', name = ''] = /^(\w+)=([^,]*)/.exec(dn) ?? []
  return there(dn, type === 'cn' ? 'nsContainer' : 'organizationalUnit', { [type]: name })
}

export function freeipa(base: string): Ds389Entry[] {
  const users = `cn=users,cn=accounts,${base}`
  const person = (name: string, parent: string, attributes: Attributes) =>
    there(`uid=${name},${parent}`, ['inetOrgPerson', 'mailRecipient'], {
      uid: name,
      cn: name,
      sn: name,
      ...attributes,
    })
  return [
    base,
    ...['accounts', 'etc', 'compat', 'provisioning'].map((name) => `cn=${name},${base}`),
    users,
    `cn=groups,cn=accounts,${base}`,
    `cn=sysaccounts,cn=etc,${base}`,
    `cn=staged users,cn=provisioning,${base}`,
  ]
    .map(container)
    .concat(
      person('alice', users, {
        mail: ['alice@example.com', 'a.adams@example.com', 'alice@example.net'],
        mailAlternateAddress: 'alternate@example.com',
      }),
      person('bob', users, { mail: 'bob@example.com', nsAccountLock: 'TRUE' }),
      there(`cn=team,cn=groups,cn=accounts,${base}`, ['groupOfNames', 'mailRecipient'], {
        cn: 'team',
        mail: 'team@example.com',
      }),
      person('stage', `cn=staged users,cn=provisioning,${base}`, { mail: 'stage@example.com' }),
      person('copy', `cn=compat,${base}`, { mail: 'nobody@example.com' }),
    )
}

// ── Kolab ────────────────────────────────────────────────────────────────────────────────────────

export const KOLAB_SCHEMA: readonly string[] = [
  attribute('1.3.6.1.4.1.19414.2.1.3', 'alias', IA5),
  objectClass('kolabInetOrgPerson', 'AUXILIARY', 'alias'),
  objectClass('kolabGroupOfUniqueNames', 'AUXILIARY', 'mail $ alias'),
  objectClass('kolabSharedFolder', 'AUXILIARY', 'cn $ mail $ alias'),
]

export function kolab(base: string): Ds389Entry[] {
  const special = `ou=Special Users,${base}`
  const person = (name: string, attributes: Attributes, classes = ['kolabInetOrgPerson']) =>
    there(`uid=${name},ou=People,${base}`, ['inetOrgPerson', 'mailRecipient', ...classes], {
      uid: name,
      cn: name,
      sn: name,
      ...attributes,
    })
  return [
    ...[base, special].map(container),
    ...['People', 'Groups', 'Resources'].map((name) => container(`ou=${name},${base}`)),
    there(`uid=kolab-service,${special}`, 'inetOrgPerson', {
      uid: 'kolab-service',
      cn: 'kolab-service',
      sn: 'service',
      userPassword: PASSWORD,
      nsSizeLimit: '-1',
      nsLookThroughLimit: '-1',
    }),
    person('alice', {
      mail: 'alice@example.com',
      alias: ['a.adams@example.com', 'alice@example.net'],
    }),
    person('bob', { mail: 'bob@example.com', nsAccountLock: 'true' }),
    person('partner', { mail: 'partner@example.com' }, []),
    there(`cn=team,ou=Groups,${base}`, ['groupOfUniqueNames', 'kolabGroupOfUniqueNames'], {
      cn: 'team',
      uniqueMember: `uid=alice,ou=People,${base}`,
      mail: 'team@example.com',
    }),
    there(
      `cn=car,ou=Resources,${base}`,
      ['organizationalRole', 'kolabSharedFolder', 'mailRecipient'],
      { cn: 'car', mail: 'resource-car@example.com' },
    ),
  ]
}
