// What `gal-relay check` says of directories in which something is not as it should be: what it is and
// what to do, in one line.
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { probeDirectory } from '../../plugins/gal-relay/gal/directory/probe'
import type { GalSettings, LdapSettings } from '../../plugins/gal-relay/settings/settings'
import { skipWithout } from '../support/programs'
import {
  type Slapd,
  type SlapdEntry,
  type SlapdOptions,
  startSlapd,
  unitEntry,
} from '../support/slapd'
import { GAL, LDAP, serverUrl } from './lists'

const TOP = 'dc=corp,dc=test'
const SCHEMA = [
  `attributetype ( 1.3.6.1.4.1.4203.666.1.801 NAME ( 'alias' 'aliasAddress' )
  EQUALITY caseIgnoreIA5Match SYNTAX 1.3.6.1.4.1.1466.115.121.1.26 )`,
  `attributetype ( 1.3.6.1.4.1.4203.666.1.802 NAME 'noRule' SYNTAX 1.3.6.1.4.1.1466.115.121.1.26 )`,
  `attributetype ( 1.3.6.1.4.1.4203.666.1.803 NAME 'exact' EQUALITY caseExactIA5Match
  SYNTAX 1.3.6.1.4.1.1466.115.121.1.26 )`,
  `objectclass ( 1.3.6.1.4.1.4203.666.3.801 NAME 'aliased' SUP top AUXILIARY
  MAY ( alias $ noRule $ exact ) )`,
]
const bare = { cn: undefined, sn: undefined }
const unit = (ou: string) => unitEntry(`ou=${ou},${TOP}`)
const person = (name: string, more: Record<string, string> = {}): SlapdEntry => ({
  ...{
    dn: `cn=${name},ou=people,${TOP}`,
    objectClass: ['inetOrgPerson', 'galRecipient', 'aliased'],
  },
  ...{ mail: `${name}@example.com`, ...more },
})
const PEOPLE = [
  ...['people', 'empty', 'other'].map(unit),
  person('ann', { alias: 'a@example.com' }),
  person('bob', { noRule: 'b@example.com' }),
  person('cas', { exact: 'Lower@example.com' }),
]
const REFERRAL: SlapdEntry = {
  ...{ dn: `ou=far,${TOP}`, objectClass: ['referral', 'extensibleObject'], ou: 'far' },
  ...{ ref: `ldap://far.example/ou=far,${TOP}`, ...bare },
}
const ALIAS: SlapdEntry = {
  ...{ dn: `ou=alias,ou=people,${TOP}`, objectClass: ['alias', 'extensibleObject'], ou: 'alias' },
  ...{ aliasedObjectName: `ou=other,${TOP}`, ...bare },
}

interface Situation {
  readonly what: string
  readonly slapd?: SlapdOptions
  readonly attributes?: string[]
  readonly gal?: Partial<GalSettings>
  readonly ldap?: Partial<LdapSettings>
  /** Whole lines: level and text. */
  readonly says: readonly string[]
}

const DEFERRED = 'unknown recipients are deferred'

const SITUATIONS: readonly Situation[] = [
  {
    what: 'an attribute without rule',
    attributes: ['mail', 'noRule'],
    says: [
      'problem noRule: it has no equality rule in the schema, so nobody is found by it: give ' +
        `it one, or set mode = snapshot; ${DEFERRED}`,
    ],
  },
  {
    what: 'mistyped names of what else is asked for',
    attributes: ['mail'],
    gal: {
      host_attribute: 'mailHots',
      routing_attribute: 'mailRoutingAddress',
      filter: '(|(mail=*)(!(employeeTyp=guest)))',
    },
    says: [
      'problem its schema has no mailHots: is the name right? It says of nobody where mail goes',
      'warning its schema has no employeeTyp, which filter asks for: that part matches nobody',
    ],
  },
  {
    what: 'who may write to it and where its mail goes, hidden on an entry',
    attributes: ['mail'],
    gal: {
      authenticated_only_attribute: 'alias',
      host_attribute: 'l',
      routing_attribute: 'street',
    },
    slapd: {
      entries: [...PEOPLE, person('dee', { street: 'dee@cloud.example' })],
      access: [
        'access to dn.regex="^cn=ann," attrs=alias by * none',
        'access to dn.regex="^cn=bob," attrs=l by * none',
        // Read, it says so.
        'access to dn.regex="^cn=dee," attrs=street by * =rd',
      ],
    },
    says: [
      'warning alias: cn=ann,ou=people,dc=corp,dc=test does not tell this account whether it has it: grant it the ' +
        'right to search for it and read it on all entries. Anybody may send to it',
      'warning l: cn=bob,ou=people,dc=corp,dc=test does not tell this account whether it has it: grant it the right ' +
        'to search for it and read it on all entries. Where its mail goes is not known',
    ],
  },
  {
    what: 'a mistyped attribute',
    attributes: ['mail', 'alais'],
    says: [
      `problem alais: the server has no such attribute in its schema: is the name right?; ${DEFERRED}`,
    ],
  },
  {
    what: 'a hidden attribute',
    slapd: { access: ['access to attrs=alias by * none'] },
    attributes: ['mail', 'alias'],
    says: [
      `problem alias: this account finds no entry by it: may it search for it and read it?; ${DEFERRED}`,
    ],
  },
  {
    what: 'one that may only be searched for',
    slapd: { access: ['access to attrs=alias by * search'] },
    attributes: ['mail', 'alias'],
    says: [
      `problem alias: entries have it, but this account may not read it: grant it that right; ${DEFERRED}`,
    ],
  },
  {
    what: 'one that may only be read',
    slapd: { access: ['access to attrs=alias by * =rd'] },
    attributes: ['mail', 'alias'],
    says: [
      `problem alias: this account may read it but not search for it: grant it that right, or rebuild the index; ${DEFERRED}`,
    ],
  },
  {
    what: 'one that compares with case',
    attributes: ['mail', 'exact'],
    says: [
      'ok exact: entries have it, and are found by it; it is case-sensitive and is searched by ' +
        'caseIgnoreIA5Match too',
    ],
  },
  {
    what: 'a synonym and an OID',
    attributes: ['rfc822Mailbox', '1.3.6.1.4.1.4203.666.1.801'],
    says: [
      'ok rfc822Mailbox: entries have it, and are found by it',
      'ok 1.3.6.1.4.1.4203.666.1.801: entries have it, and are found by it',
    ],
  },
  {
    what: 'a schema that is not readable, and a synonym',
    slapd: {
      schema: [...SCHEMA, 'access to dn.base="cn=Subschema" by * none', 'access to * by * read'],
    },
    attributes: ['rfc822Mailbox'],
    says: [
      'problem rfc822Mailbox: entries have it but do not show it under this name: may this account ' +
        `read it? Its other names are not known, since the schema is not readable; ${DEFERRED}`,
    ],
  },
  {
    what: 'a referral below the base',
    slapd: { entries: [...PEOPLE, REFERRAL] },
    says: [
      `problem part of the tree below ${TOP} is at ldap://far.example/ou=far,${TOP}??sub and is not ` +
        'searched (referrals = report): set referrals = follow and name its host in referral_hosts[]',
    ],
  },
  {
    what: 'a base that is a referral',
    slapd: { entries: [...PEOPLE, REFERRAL] },
    ldap: { base: [`ou=far,${TOP}`] },
    says: [
      `problem base ou=far,${TOP}: the base is a referral to ldap://far.example/ou=far,${TOP}??base: ` +
        `name that server in url[] and its base in base; the server has ${TOP}`,
    ],
  },
  {
    what: 'alias objects',
    slapd: { entries: [...PEOPLE, ALIAS] },
    says: [
      `warning ou=alias,ou=people,${TOP} is an alias object, and its target is not looked up: set ` +
        'dereference = search',
    ],
  },
  {
    what: 'one base of two without anybody',
    ldap: { base: [`ou=people,${TOP}`, `ou=empty,${TOP}`] },
    says: [
      `problem below ou=empty,${TOP} no entry shows an address: are base, filter and access rights correct? ` +
        `If it is meant to be empty, remove it from base[]; ${DEFERRED}`,
    ],
  },
  {
    what: 'a size limit, where it matters and where it does not',
    slapd: { limits: { size: 2 } },
    gal: { mode: 'snapshot' },
    says: [
      'warning it returns at most 2 entries at a time to this account: raise sizelimit, or limits for bind_dn',
    ],
  },
  {
    what: 'no feed of changes',
    slapd: { syncprov: false },
    gal: { mode: 'snapshot' },
    says: ['warning it does not report changes; they are found by time stamps'],
  },
]

describe('what check says', { skip: skipWithout('slapd', 'slapadd'), concurrency: 2 }, () => {
  let sound: Slapd
  before(async () => {
    sound = await startSlapd({ schema: SCHEMA, entries: PEOPLE })
  })
  after(() => sound?.stop())

  for (const { what, slapd, attributes = ['mail'], gal, ldap, says } of SITUATIONS) {
    test(what, async () => {
      const one = slapd ? await startSlapd({ schema: SCHEMA, entries: PEOPLE, ...slapd }) : sound
      try {
        const [server] = await probeDirectory(
          { ...GAL, attributes, ...gal },
          { ...LDAP, url: [serverUrl(one.url)], ...ldap },
        )
        const lines = server?.findings.map(({ level, text }) => `${level} ${text}`) ?? []
        for (const line of says) assert.ok(lines.includes(line), `${line}\n\n${lines.join('\n')}`)
        const isBad = (line: string) => /^problem /.test(line)
        assert.deepEqual(lines.filter(isBad), says.filter(isBad))
      } finally {
        if (one !== sound) await one.stop()
      }
    })
  }
})
