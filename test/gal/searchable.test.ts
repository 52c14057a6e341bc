// An address is called absent only where the directory could have found it: what one attribute shows says
// nothing about another. Each case is looked up live and in the list in memory, which must not contradict
// each other.
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import type { GalSettings, LdapSettings } from '../../plugins/gal-relay/settings/settings'
import { freePort } from '../support/ports'
import { skipWithout } from '../support/programs'
import {
  type Slapd,
  type SlapdEntry,
  type SlapdOptions,
  startSlapd,
  unitEntry,
} from '../support/slapd'
import { until } from '../support/until'
import {
  type KeepingProcess,
  serverUrl,
  startKeepingProcess,
  type TestList,
  testList,
} from './lists'

const SCHEMA = [
  `attributetype ( 1.3.6.1.4.1.4203.666.1.801 NAME ( 'alias' 'aliasAddress' )
  EQUALITY caseIgnoreIA5Match SYNTAX 1.3.6.1.4.1.1466.115.121.1.26 )`,
  `attributetype ( 1.3.6.1.4.1.4203.666.1.802 NAME 'noRule' SYNTAX 1.3.6.1.4.1.1466.115.121.1.26 )`,
  `attributetype ( 1.3.6.1.4.1.4203.666.1.803 NAME 'exact' EQUALITY caseExactIA5Match
  SYNTAX 1.3.6.1.4.1.1466.115.121.1.26 )`,
  `attributetype ( 1.3.6.1.4.1.4203.666.1.804 NAME 'derived' SUP exact )`,
  `objectclass ( 1.3.6.1.4.1.4203.666.3.801 NAME 'aliased' SUP top AUXILIARY
  MAY ( alias $ noRule $ exact $ derived ) )`,
]
const person = (name: string, attributes: Record<string, string | string[]>): SlapdEntry => ({
  objectClass: ['inetOrgPerson', 'galRecipient', 'aliased'],
  dn: `cn=${name},dc=corp,dc=test`,
  ...attributes,
})
const PEOPLE: readonly SlapdEntry[] = [
  person('ann', { mail: 'ann@example.com', alias: 'a@example.com' }),
  person('bob', { mail: 'bob@example.com', noRule: 'b@example.com' }),
  person('cas', { mail: 'cas@example.com', exact: 'lower@example.com' }),
  person('dee', { mail: 'dee@example.com', derived: 'Derived@example.com' }),
]

type Answers = Readonly<Record<string, string>>

let lists: KeepingProcess
before(() => {
  lists = startKeepingProcess()
})
after(() => lists.stop())

/** What both lists answer. */
interface Case {
  readonly attributes?: string[]
  readonly ldap?: Partial<LdapSettings>
  readonly gal?: Partial<GalSettings>
  readonly live: Answers
  /** Answers from memory that differ from these. */
  readonly snapshot?: Answers
  /** A line that the live list logs once. */
  readonly log?: RegExp
  /** The account may not read the whole list. */
  readonly isUnlisted?: boolean
}

async function answered(list: TestList, expected: Answers, way: string): Promise<void> {
  for (const [address, answer] of Object.entries(expected)) {
    const given = await list.answer(address)
    assert.deepEqual([way, address, given.state], [way, address, answer], JSON.stringify(given))
  }
}

/** The list is in force, and either confirmed or known to leave something out. */
function isInForce({ report, log }: TestList): boolean {
  const { addresses = 0, isCurrent = false } = report().snapshot ?? {}
  return (
    addresses > 0 && (isCurrent || log.lines.some((line) => line.includes('are looked up live')))
  )
}

async function bothWays(slapd: Slapd, one: Case): Promise<void> {
  const ldap = {
    url: [serverUrl(slapd.url)],
    base: [slapd.base],
    bind_dn: slapd.bindDn,
    bind_password: slapd.password,
    ...one.ldap,
  }
  const gal = { ...(one.attributes ? { attributes: one.attributes } : {}), ...one.gal }
  const live = testList(ldap, gal)
  const kept = testList(
    ldap,
    { ...gal, mode: 'snapshot' },
    // Long enough that the list stays current even if a busy machine makes it wait.
    { file: lists.newFile(), changes_every: 20_000 },
  )
  try {
    await answered(live, one.live, 'live')
    if (one.log) {
      const said = live.log.lines.filter((line) => one.log?.test(line))
      assert.equal(said.length, 1, live.log.lines.join('\n'))
    }
    kept.start()
    await until(
      () => one.isUnlisted || isInForce(kept),
      () => `a list is read\n${kept.log.lines.join('\n')}`,
    )
    await answered(kept, { ...one.live, ...one.snapshot }, 'snapshot')
  } finally {
    await Promise.all([live.close(), kept.close()])
  }
}

const skip = skipWithout('slapd', 'slapadd', 'ldapmodify')

describe('each attribute is proven by itself', { skip, concurrency: 2 }, () => {
  let slapd: Slapd
  before(async () => {
    slapd = await startSlapd({ schema: SCHEMA, entries: PEOPLE })
  })
  after(() => slapd?.stop())

  test('all of them can be searched for', () =>
    bothWays(slapd, {
      attributes: ['mail', 'alias'],
      live: { 'ann@example.com': 'found', 'A@example.com': 'found', 'no@example.com': 'absent' },
    }))

  test('one that no entry has, and that could be found', () =>
    bothWays(slapd, {
      attributes: ['mail', 'targetAddress'],
      live: { 'ann@example.com': 'found', 'no@example.com': 'absent' },
    }))

  test('one without an equality rule: the list in memory has what searches cannot find', () =>
    bothWays(slapd, {
      attributes: ['mail', 'noRule'],
      live: {
        'dee@example.com': 'found',
        'b@example.com': 'unavailable',
        'no@example.com': 'unavailable',
      },
      snapshot: { 'b@example.com': 'found', 'no@example.com': 'absent' },
      log: /warn .*noRule: it has no equality rule/,
    }))

  test('a value that is larger than servers take in a search', async () => {
    const large = { mail: `${'x'.repeat(300_000)}@example.com`, dn: 'cn=aaa,dc=corp,dc=test' }
    const other = await startSlapd({ entries: [large, 'ann@example.com'] })
    try {
      const live = { 'ann@example.com': 'found', 'no@example.com': 'absent' }
      // OpenLDAP accepts 256 KB from clients that have not bound.
      const ldap = { bind_dn: '', bind_password: '' }
      await bothWays(other, { attributes: ['mail'], ldap, live })
    } finally {
      await other.stop()
    }
  })

  test('letters whose other case the server does not know, and domains in two alphabets', async () => {
    const stored = [
      ['ΓΙΩΡΓΟΣ@example.com', 'γιωργος@example.com'],
      ['νικος.παππας@example.com', 'ΝΙΚΟΣ.ΠΑΠΠΑΣ@example.com'],
      ['\u0130pek@example.com', 'i\u0307pek@example.com'],
      ['straße@example.com', 'STRA\u1e9eE@example.com'],
      ['ann@xn--mnchen-3ya.bücher.example', 'ann@xn--mnchen-3ya.xn--bcher-kva.example'],
    ] as const
    const other = await startSlapd({
      entries: stored.map(([address], i) => ({
        dn: `cn=p${i},dc=corp,dc=test`,
        proxyAddresses: `smtp:${address}`,
      })),
    })
    try {
      const found = stored.map(([, asked]) => [asked, 'found'])
      const live = { ...Object.fromEntries(found), 'strasse@example.com': 'absent' }
      await bothWays(other, { attributes: ['proxyAddresses'], live })
    } finally {
      await other.stop()
    }
  })

  test('one without an equality rule that no entry has', async () => {
    const { url, bindDn, password } = slapd
    const access = { url: [serverUrl(url)], bind_dn: bindDn, bind_password: password }
    const base = ['cn=ann,dc=corp,dc=test']
    const list = testList({ ...access, base }, { attributes: ['mail', 'noRule'] })
    const expected = { 'ann@example.com': 'found', 'no@example.com': 'unavailable' }
    try {
      await answered(list, expected, 'live')
    } finally {
      await list.close()
    }
  })

  test('one with a mistyped name', () =>
    bothWays(slapd, {
      attributes: ['mail', 'alais'],
      live: { 'ann@example.com': 'found', 'a@example.com': 'unavailable' },
      log: /warn .*alais: the server has no such attribute/,
    }))

  test('by a synonym, and by its OID', async () => {
    const live = {
      'ann@example.com': 'found',
      'a@example.com': 'found',
      'no@example.com': 'absent',
    }
    await bothWays(slapd, { attributes: ['rfc822Mailbox', 'aliasAddress'], live })
    await bothWays(slapd, {
      attributes: ['0.9.2342.19200300.100.1.3', '1.3.6.1.4.1.4203.666.1.801'],
      live,
    })
  })

  test('who may send and where mail goes, each by a synonym', async () => {
    const names = ['restricted', 'server', 'routed'].map(
      (name, i) => `attributetype ( 1.3.6.1.4.1.4203.666.1.82${i} NAME ( '${name}' '${name}Name' )
  EQUALITY caseIgnoreMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 )`,
    )
    const objectClass = ['inetOrgPerson', 'galRecipient', 'routed']
    const ann = { dn: 'cn=ann,dc=corp,dc=test', mail: 'ann@example.com', objectClass }
    const other = await startSlapd({
      schema: [
        ...names,
        `objectclass ( 1.3.6.1.4.1.4203.666.3.802 NAME 'routed' SUP top AUXILIARY
  MAY ( restricted $ server $ routed ) )`,
      ],
      entries: [{ ...ann, restricted: 'TRUE', server: 'ex1', routed: 'smtp:ann@far.example' }],
    })
    const ldap = { url: [serverUrl(other.url)], base: [other.base] }
    const gal = {
      authenticated_only_attribute: 'restrictedName',
      host_attribute: 'SERVERNAME',
      routing_attribute: 'routedName',
    }
    const live = testList(ldap, gal)
    const kept = testList(ldap, { ...gal, mode: 'snapshot' }, { file: lists.newFile() })
    try {
      kept.start()
      await until(() => isInForce(kept))
      for (const list of [live, kept]) {
        assert.deepEqual(await list.answer('ann@example.com'), {
          state: 'found',
          authenticatedOnly: true,
          mailbox: { host: 'ex1', address: 'ann@far.example' },
        })
      }
    } finally {
      await Promise.all([live.close(), kept.close()])
      await other.stop()
    }
  })

  test('one that is compared with case, by its own rule or that of its superior', () =>
    bothWays(slapd, {
      attributes: ['mail', 'exact', 'derived'],
      live: {
        'LOWER@example.com': 'found',
        'lower@example.com': 'found',
        'derived@EXAMPLE.com': 'found',
        'no@example.com': 'absent',
      },
    }))

  test('one that is compared with case: an answer in one case is remembered for all', () =>
    bothWays(slapd, {
      attributes: ['exact'],
      gal: { cache_found: 60_000, cache_absent: 60_000 },
      live: { 'LOWER@example.com': 'found', 'lower@example.com': 'found' },
    }))
})

describe('rights', { skip, concurrency: 2 }, () => {
  const hidden: Answers = {
    'dee@example.com': 'found',
    'a@example.com': 'unavailable',
    'no@example.com': 'unavailable',
  }

  async function withAccess(options: SlapdOptions, one: Case): Promise<void> {
    const slapd = await startSlapd({ schema: SCHEMA, entries: PEOPLE, ...options })
    try {
      await bothWays(slapd, one)
    } finally {
      await slapd.stop()
    }
  }

  test('an attribute that is hidden', () =>
    withAccess(
      { access: ['access to attrs=alias by * none'] },
      { attributes: ['mail', 'alias'], live: hidden, log: /warn .*alias: this account finds no/ },
    ))

  test('one that may be searched for and not read', () =>
    withAccess(
      { access: ['access to attrs=alias by * search'] },
      { attributes: ['mail', 'alias'], live: hidden, log: /warn .*alias: .*may not read it/ },
    ))

  test('one that may be read and not searched for', () =>
    withAccess(
      { access: ['access to attrs=alias by * =rd'] },
      {
        attributes: ['mail', 'alias'],
        live: hidden,
        snapshot: { 'a@example.com': 'found' },
        log: /warn .*alias: .*not search for it/,
      },
    ))

  test('one of the default attributes that is hidden', () =>
    withAccess(
      {
        entries: [
          'dee@example.com',
          { mail: 'ann@example.com', proxyAddresses: 'smtp:a@example.com' },
        ],
        access: ['access to attrs=proxyAddresses by * none'],
      },
      { live: { 'dee@example.com': 'found', 'a@example.com': 'unavailable' } },
    ))

  const UNITS = ['ou=one,dc=corp,dc=test', 'ou=two,dc=corp,dc=test'] as const
  describe('an attribute that is hidden on some entries', () => {
    // The entries on which it is hidden come after all those that are looked at one by one.
    const shown = Array.from({ length: 40 }, (_, i) => ({
      dn: `cn=p${i},${UNITS[0]}`,
      mail: `p${i}@example.com`,
      proxyAddresses: `smtp:a${i}@example.com`,
    }))
    const last = { dn: `cn=last,${UNITS[1]}`, mail: 'last@example.com', employeeType: 'vip' }
    const people = [
      ...[...UNITS.map(unitEntry), ...shown],
      { ...last, proxyAddresses: 'smtp:hidden@example.com' },
    ]
    const subtree = `dn.subtree="${UNITS[1]}" attrs=proxyAddresses`
    const live: Answers = {
      'a1@example.com': 'found',
      'last@example.com': 'found',
      'hidden@example.com': 'unavailable',
      'no@example.com': 'unavailable',
    }
    for (const { what, access, snapshot } of [
      { what: 'in a part of the tree', access: `${subtree} by * none` },
      { what: 'by a filter', access: 'filter=(employeeType=vip) attrs=proxyAddresses by * none' },
      {
        what: 'to searches alone',
        access: `${subtree} by * =rd`,
        snapshot: { 'hidden@example.com': 'found' },
      },
      { what: 'to readers alone', access: `${subtree} by * =sd` },
    ]) {
      test(what, () =>
        withAccess(
          { entries: people, access: [`access to ${access}`] },
          { live, ...(snapshot ? { snapshot } : {}) },
        ),
      )
    }
    test('the only attribute', () =>
      withAccess(
        { entries: people, access: [`access to dn.subtree="${UNITS[1]}" attrs=mail by * none`] },
        {
          attributes: ['mail'],
          live: {
            'p1@example.com': 'found',
            'last@example.com': 'unavailable',
            'no@example.com': 'unavailable',
          },
          log: /warn .*mail: cn=last,ou=two,dc=corp,dc=test does not tell this account/,
        },
      ))
    test('an attribute that no other entry has', () =>
      withAccess(
        {
          entries: [...UNITS.map(unitEntry), 'dee@example.com', last],
          access: [`access to ${subtree} by * none`],
        },
        { attributes: ['mail', 'targetAddress'], live: { 'no@example.com': 'absent' } },
      ))
  })

  describe('an attribute of the filter that is hidden on some entries', () => {
    const people = [
      ...UNITS.map(unitEntry),
      { dn: `cn=ann,${UNITS[0]}`, mail: 'ann@example.com', employeeType: 'active' },
      { dn: `cn=bob,${UNITS[0]}`, mail: 'bob@example.com', employeeType: 'former' },
      { dn: `cn=cas,${UNITS[1]}`, mail: 'cas@example.com', employeeType: 'active' },
    ]
    const access = [`access to dn.subtree="${UNITS[1]}" attrs=employeeType by * none`]
    const attributes = ['mail']
    test('no address is called absent', () =>
      withAccess(
        { entries: people, access },
        {
          attributes,
          gal: { filter: '(employeeType=active)' },
          live: {
            'ann@example.com': 'found',
            'bob@example.com': 'unavailable',
            'cas@example.com': 'unavailable',
          },
          log: /warn .*filter: cn=cas,ou=two,dc=corp,dc=test does not tell this account/,
        },
      ))
    test('no doubt if the filter selects the same entries whatever is hidden', () =>
      withAccess(
        { entries: people, access },
        {
          attributes,
          gal: { filter: '(&(cn=ann)(employeeType=active))' },
          live: { 'ann@example.com': 'found', 'cas@example.com': 'absent' },
        },
      ))
    test('no doubt about an attribute that the server does not know', () =>
      withAccess(
        { entries: people },
        {
          attributes,
          gal: { filter: '(|(employeeType=active)(noSuchAttribute=TRUE))' },
          live: { 'ann@example.com': 'found', 'bob@example.com': 'absent' },
        },
      ))
  })

  test('a limit of one entry', () =>
    withAccess(
      { limits: { size: 1 }, entries: ['ann@example.com', 'bob@example.com', 'cas@example.com'] },
      {
        isUnlisted: true,
        live: {
          'ann@example.com': 'found',
          'bob@example.com': 'found',
          'no@example.com': 'absent',
          'cas@example.com': 'found',
        },
      },
    ))
})

describe('references to other servers', { skip, concurrency: 2 }, () => {
  const CHILD = 'o=child,dc=corp,dc=test'
  const kim = { dn: `cn=kim,${CHILD}`, mail: 'kim@example.com' }
  let child: Slapd
  let parent: Slapd
  before(async () => {
    child = await startSlapd({ suffix: CHILD, schema: SCHEMA, entries: [kim] })
    const url = `${child.url}/${CHILD}??sub`
    parent = await startSlapd({
      schema: SCHEMA,
      entries: [
        ...PEOPLE,
        'proxy@example.com',
        {
          dn: CHILD,
          objectClass: ['referral', 'extensibleObject'],
          o: 'child',
          ref: url,
          cn: undefined,
          sn: undefined,
        },
      ],
    })
  })
  after(() => Promise.all([parent?.stop(), child?.stop()]))

  const anonymous = { bind_dn: '', bind_password: '' }
  const doubtful: Answers = {
    'ann@example.com': 'found',
    'kim@example.com': 'unavailable',
    'no@example.com': 'unavailable',
  }

  test('reported, and no address is called absent', () =>
    bothWays(parent, {
      ldap: anonymous,
      live: doubtful,
      log: /warn .*part of the tree below dc=corp,dc=test is at ldap:.*referral_hosts\[\]/,
    }))

  test('not followed to a host that is not listed', () =>
    bothWays(parent, {
      ldap: { ...anonymous, referrals: 'follow', referral_hosts: ['ldap.example.com'] },
      live: doubtful,
    }))

  test('followed to a host that is listed', () =>
    bothWays(parent, {
      ldap: { ...anonymous, referrals: 'follow', referral_hosts: ['127.0.0.1'] },
      live: { 'ann@example.com': 'found', 'kim@example.com': 'found', 'no@example.com': 'absent' },
    }))

  test('followed to whichever of several servers answers', async () => {
    const dead = `ldap://127.0.0.1:${await freePort()}/${CHILD}`
    const alive = `${child.url}/${CHILD}`
    for (const ref of [
      [dead, alive],
      [alive, dead],
      [`ldap://unlisted.example/${CHILD}`, alive],
    ]) {
      const other = await startSlapd({
        schema: SCHEMA,
        entries: [
          ...PEOPLE,
          {
            ...{ dn: 'ou=elsewhere,dc=corp,dc=test', ou: 'elsewhere', ref },
            ...{ objectClass: ['referral', 'extensibleObject'], cn: undefined, sn: undefined },
          },
        ],
      })
      try {
        await bothWays(other, {
          ldap: { ...anonymous, referrals: 'follow', referral_hosts: ['127.0.0.1'] },
          live: {
            'ann@example.com': 'found',
            'kim@example.com': 'found',
            'no@example.com': 'absent',
          },
        })
      } finally {
        await other.stop()
      }
    }
  })

  test('a base that is itself a referral is an error that names its target', async () => {
    const list = testList({ url: [serverUrl(parent.url)], base: [CHILD] })
    try {
      const answer = await list.answer('kim@example.com')
      assert.equal(answer.state, 'unavailable')
      assert.match(JSON.stringify(answer), /the base is a referral to ldap:\/\/127/)
    } finally {
      await list.close()
    }
  })
})
