// Which addresses are in the list: OpenLDAP and Active Directory give the same answers, over every kind of
// connection.
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import type { GalSettings, LdapSettings } from '../../plugins/gal-relay/settings/settings'
import { until } from '../support/until'
import { ACTIVE_DIRECTORY, OPENLDAP, type TestDirectory, type TestEntry } from './directories'
import { type KeepingProcess, startKeepingProcess, type TestList, testList } from './lists'

/** Milliseconds that a list may take to be read, however busy the machine is. */
const PATIENCE = 60_000

const ALICE: TestEntry = {
  name: 'alice',
  attributes: {
    mail: 'alice@example.com',
    proxyAddresses: [
      'SMTP:alice@example.com',
      'smtp:a.smith@example.com',
      'X400:c=us;a= ;p=Example;o=Exchange;s=alice;',
      'x500:/o=Example/ou=First/cn=Recipients/cn=alice@x500.example.com',
      'SIP:alice@sip.example.com',
      'sip:phone@example.com',
      'EUM:1234@eum.example.com',
      'sms:text@example.com',
    ],
  },
}
const ENTRIES: readonly TestEntry[] = [
  ALICE,
  { name: 'mailonly', attributes: { mail: 'Mail.Only@Example.COM' } },
  { name: 'proxyonly', attributes: { proxyAddresses: ['smtp:Proxy.Only@Example.COM'] } },
  { name: 'shared', kind: 'disabled account', attributes: { mail: 'shared@example.com' } },
  { name: 'sales', kind: 'group', attributes: { mail: 'sales@example.com' } },
  { name: 'partner', kind: 'contact', attributes: { mail: 'partner@elsewhere.example' } },
  {
    name: 'staff',
    kind: 'group',
    attributes: { mail: 'staff@example.com', proxyAddresses: ['SMTP:staff@example.com'] },
    authenticatedOnly: true,
  },
  { name: 'old55', attributes: { otherMailbox: ['smtp$old55@example.com', 'ms$EX/OLD55'] } },
  {
    name: 'other',
    attributes: {
      otherMailbox: [
        'other@example.com',
        'smtp:other2@example.com',
        'sip:nobody@example.com',
        'x400$c=US;a= ;s=nobody@example.com',
      ],
    },
  },
  { name: 'hyphen', attributes: { mail: 'a-b@example.com' } },
  { name: 'bare', attributes: { proxyAddresses: ['Bare@example.com', 'sip:nobody@example.com'] } },
  {
    name: 'blank',
    attributes: { proxyAddresses: ['smtp:jo doe@example.com', "smtp:o'neil@example.com"] },
  },
  {
    name: 'legacy',
    attributes: {
      legacyExchangeDN: '/o=Example/ou=First/cn=Recipients/cn=legacy',
      proxyAddresses: [
        'SMTP:legacy@example.com',
        'x500:/O=Old (Corp)/CN=Käthe',
        'x500:/o=Old/cn=a_b@c',
      ],
    },
  },
  { name: 'utf8', attributes: { proxyAddresses: ['SMTP:jürgen@example.com'] } },
  { name: 'decomposed', attributes: { proxyAddresses: ['SMTP:rene\u0301@example.com'] } },
  { name: 'ulabel', attributes: { proxyAddresses: ['SMTP:info@Bücher.example'] } },
  { name: 'decomposed2', attributes: { proxyAddresses: ['SMTP:info@bu\u0308ro.example'] } },
  { name: 'alabel', attributes: { proxyAddresses: ['SMTP:info@xn--mller-kva.example'] } },
  { name: 'literal', attributes: { proxyAddresses: ['SMTP:alice@[192.0.2.7]'] } },
  { name: 'ipv6', attributes: { proxyAddresses: ['SMTP:bob@[IPv6:2001:DB8:0:0:0:0:0:7]'] } },
  { name: 'quoted', attributes: { proxyAddresses: ['SMTP:"john  doe"@example.com'] } },
  { name: 'onward', attributes: { proxyAddresses: ['SMTP:user%other.example@example.com'] } },
  { name: 'grammar', attributes: { proxyAddresses: ['SMTP:a*(b)\\2a|&=c@example.com'] } },
  { name: 'one', in: 'one', attributes: { mail: 'one@example.com' } },
  { name: 'two', in: 'two', attributes: { mail: 'two@example.com' } },
  { name: 'twin1', attributes: { mail: 'twin@example.com' } },
  { name: 'twin2', attributes: { proxyAddresses: ['smtp:twin@example.com'] } },
  {
    name: 'many',
    attributes: {
      proxyAddresses: Array.from({ length: 2000 }, (_, i) => `smtp:many${i}@example.com`),
    },
  },
]

for (const kind of [OPENLDAP, ACTIVE_DIRECTORY]) {
  describe(kind.name, { skip: kind.skip }, () => {
    let directory: TestDirectory
    let lists: KeepingProcess
    before(async () => {
      directory = await kind.start()
      await directory.add(...ENTRIES)
      lists = startKeepingProcess()
    })
    after(async () => {
      await lists?.stop()
      await directory?.stop()
    })

    async function withList(
      run: (list: TestList) => Promise<void>,
      gal: Partial<GalSettings> = {},
      ldap: Partial<LdapSettings> = {},
    ): Promise<void> {
      const list = testList({ ...directory.settings(), ...ldap }, gal)
      try {
        await run(list)
      } finally {
        await list.close()
      }
    }

    async function answers(
      expected: Readonly<Record<string, string>>,
      gal: Partial<GalSettings> = {},
      ldap: Partial<LdapSettings> = {},
    ): Promise<void> {
      await withList(
        async (list) => {
          for (const [address, answer] of Object.entries(expected)) {
            assert.deepEqual([address, await list.ask(address)], [address, answer])
          }
        },
        gal,
        ldap,
      )
    }

    /** Asserts the same answers from the list in memory, too. */
    async function answersInBothModes(
      expected: Readonly<Record<string, string>>,
      gal: Partial<GalSettings> = {},
    ): Promise<void> {
      await answers(expected, gal)
      const snapshot = { file: lists.newFile() }
      const list = testList(directory.settings(), { ...gal, mode: 'snapshot' }, snapshot)
      try {
        list.start()
        await until(() => list.report().snapshot?.isCurrent === true, undefined, PATIENCE)
        const asked = list.report().snapshot?.asked
        for (const [address, answer] of Object.entries(expected)) {
          assert.deepEqual([address, await list.ask(address)], [address, answer], 'in memory')
        }
        assert.equal(list.report().snapshot?.asked, asked, 'answered from memory')
      } finally {
        await list.close()
      }
    }

    for (const access of kind.accesses) {
      test(`over ${access}`, () =>
        answers(
          {
            'alice@example.com': 'found',
            'nobody@example.com': 'absent',
            'many1999@example.com': 'found',
            'many2000@example.com': 'absent',
          },
          {},
          directory.settings(access),
        ))
    }

    test('every SMTP address of an entry, in any case, and none of another kind', () =>
      answers({
        'alice@example.com': 'found',
        'ALICE@EXAMPLE.com': 'found',
        'A.Smith@example.com': 'found',
        'mail.only@example.com': 'found',
        'proxy.only@example.com': 'found',
        'alice@sip.example.com': 'absent',
        'phone@example.com': 'absent',
        '1234@eum.example.com': 'absent',
        'text@example.com': 'absent',
        'SMTP:alice@example.com': 'absent',
        'cn=alice@x500.example.com': 'absent',
        '/o=Example/ou=First/cn=Recipients/cn=alice@x500.example.com': 'absent',
      }))

    test('groups, contacts, disabled accounts', () =>
      answers({
        'shared@example.com': 'found',
        'sales@example.com': 'found',
        'partner@elsewhere.example': 'found',
      }))

    test('part of an address, or more than an address, is absent', () =>
      answers({
        'lice@example.com': 'absent',
        'alice@example.co': 'absent',
        'alice@example.com.example.net': 'absent',
        ' alice@example.com': 'absent',
        'alice @example.com': 'absent',
        'alice.@example.com': 'absent',
      }))

    test('an attribute that marks entries for authenticated senders only', () =>
      answers(
        { 'staff@example.com': 'found authenticated', 'sales@example.com': 'found' },
        { authenticated_only_attribute: directory.flag },
      ))

    test('the settings name no such attribute', () =>
      answers({ 'staff@example.com': 'found' }, { authenticated_only_attribute: '' }))

    test('an attribute that the schema does not have: other addresses are found, and none is called absent', () =>
      answers(
        { 'mail.only@example.com': 'found', 'nobody@example.com': 'unavailable' },
        {
          attributes: ['noSuchAttribute', 'mail'],
          authenticated_only_attribute: 'noSuchFlagEither',
        },
      ))

    test('only the attributes of the settings count', () =>
      answers(
        { 'alice@example.com': 'found', 'proxy.only@example.com': 'absent' },
        { attributes: ['mail'] },
      ))

    test('otherMailbox as in Exchange 5.5', () =>
      answers(
        { 'old55@example.com': 'found', 'EX/OLD55@example.com': 'absent' },
        { attributes: ['mail', 'otherMailbox'] },
      ))

    test('the type of a value counts, whatever its attribute', () =>
      answersInBothModes(
        {
          'other@example.com': 'found',
          'other2@example.com': 'found',
          'old55@example.com': 'found',
          'bare@example.com': 'found',
          'proxy.only@example.com': 'found',
          'nobody@example.com': 'absent',
          '"sip:nobody"@example.com': 'absent',
          '"smtp:other2"@example.com': 'absent',
          '"smtp:proxy.only"@example.com': 'absent',
        },
        { attributes: ['proxyAddresses', 'mail', 'otherMailbox'] },
      ))

    test('X.500 addresses of replies to mail from before a migration', () =>
      answersInBothModes(
        {
          'IMCEAEX-_O=EXAMPLE_OU=FIRST_CN=RECIPIENTS_CN=LEGACY@example.com': 'found',
          'imceaex-_o=Example_ou=First_cn=Recipients_cn=legacy@example.com': 'found',
          '"IMCEAEX-_O=EXAMPLE_OU=FIRST_CN=RECIPIENTS_CN=LEGACY"@example.com': 'found',
          'IMCEAEX-_O=OLD+20+28CORP+29_CN=K+C3+84THE@example.com': 'found',
          'IMCEAEX-_o=Old_cn=a+5Fb+40c@example.com': 'found',
          'IMCEAEX-_O=EXAMPLE_OU=FIRST_CN=RECIPIENTS_CN=NOBODY@example.com': 'absent',
          'IMCEAEX-_O=EXAMPLE_OU=FIRST_CN=RECIPIENTS_CN=LEGACY%2f@example.com': 'absent',
          'IMCEASMTP-legacy+40example+2Ecom@example.com': 'absent',
          '/o=Example/ou=First/cn=Recipients/cn=legacy@example.com': 'absent',
          'legacy@example.com': 'found',
          'nobody@example.com': 'absent',
        },
        { attributes: ['proxyAddresses', 'mail', 'legacyExchangeDN'] },
      ))

    test('X.500 addresses do not count unless the settings say so', () =>
      answersInBothModes({
        'IMCEAEX-_O=OLD+20+28CORP+29_CN=K+C3+84THE@example.com': 'absent',
        '/O=Old (Corp)/CN=Käthe@example.com': 'absent',
      }))

    test('the filter says which entries count', () =>
      answers(
        { 'alice@example.com': 'found', 'sales@example.com': 'absent' },
        { filter: '(&(objectClass=*)(!(|(cn=sales)(cn=staff))))' },
      ))

    test('an escape in the filter stands for its character', () =>
      answers(
        { 'alice@example.com': 'found', 'shared@example.com': 'absent' },
        { filter: '(|(cn=\\61lice)(cn=\\c3\\bcnused))' },
      ))

    test('several bases, one inside another', async () => {
      const [one, two] = [`ou=one,${directory.base}`, `ou=two,${directory.base}`]
      await answers(
        { 'one@example.com': 'found', 'two@example.com': 'found', 'alice@example.com': 'absent' },
        {},
        { base: [one, two] },
      )
      await answers({ 'two@example.com': 'absent' }, {}, { base: [one] })
      await withList(
        async (list) => {
          assert.equal(await list.ask('one@example.com'), 'found')
          assert.deepEqual(
            list.log.lines.filter((line) => line.startsWith('warn')),
            [],
          )
        },
        {},
        { base: [one, directory.base] },
      )
    })

    test('local parts in UTF-8 are compared exactly, although the directory compares loosely', () =>
      answers({
        'jürgen@example.com': 'found',
        'JÜRGEN@example.com': 'found',
        'ju\u0308rgen@example.com': 'found',
        'rené@example.com': 'found',
        'rene\u0301@example.com': 'found',
        'RENÉ@example.com': 'found',
        'rene@example.com': 'absent',
        'jurgen@example.com': 'absent',
        'juergen@example.com': 'absent',
        'jurgén@example.com': 'absent',
        'älice@example.com': 'absent',
        'al\u00adice@example.com': 'absent',
        'ａlice@example.com': 'absent',
        'ſales@example.com': 'absent',
        'ﬁ@example.com': 'absent',
        'alice\u200b@example.com': 'absent',
      }))

    test('a domain stored as U-label or as A-label is found by its A-label', () =>
      answers({
        'info@xn--bcher-kva.example': 'found',
        'info@xn--mller-kva.example': 'found',
        'info@bucher.example': 'absent',
        'info@xn--bro-hoa.example': 'found',
      }))

    test('address literals, quoted and onward-routing local parts are looked up as they are written', () =>
      answersInBothModes({
        'alice@[192.0.2.7]': 'found',
        'alice@[192.0.2.8]': 'absent',
        'bob@[IPv6:2001:db8::7]': 'found',
        'bob@[IPv6:2001:db8::8]': 'absent',
        '"john  doe"@example.com': 'found',
        '"john doe"@example.com': 'absent',
        'john doe@example.com': 'absent',
        '"jo doe"@example.com': 'found',
        '"jo\\ DOE"@example.com': 'found',
        'jo doe@example.com': 'found',
        '"alice"@example.com': 'found',
        '"\\al\\ice"@example.com': 'found',
        '"o\'neil"@example.com': 'found',
        '"nobody"@example.com': 'absent',
        '" alice"@example.com': 'absent',
        '"alice "@example.com': 'absent',
        '"\\"alice\\""@example.com': 'absent',
        '""@example.com': 'absent',
        'user%other.example@example.com': 'found',
        'user@example.com': 'absent',
      }))

    test('no address is read as part of a filter', () =>
      answers({
        '*@example.com': 'absent',
        'a*@example.com': 'absent',
        'alice@example.com)(objectClass=*': 'absent',
        '*)(mail=*@example.com': 'absent',
        'a*(b)\\2a|&=c@example.com': 'found',
        'a*(b)*|&=c@example.com': 'absent',
        '\\61lice@example.com': 'absent',
        'alice\u0000@example.com': 'absent',
        '\u0000@example.com': 'absent',
      }))

    test('sub-addresses: with the tag, then without it, and never if mail would go onward', () =>
      answersInBothModes(
        {
          'alice+tag@example.com': 'found',
          'alice+tag+more@example.com': 'found',
          'nobody+tag@example.com': 'absent',
          '+alice@example.com': 'absent',
          '"alice+tag"@example.com': 'found',
          '"jo doe+tag"@example.com': 'found',
          '"+alice"@example.com': 'absent',
          'alice+user%other.example@example.com': 'absent',
          'alice+other.example!user@example.com': 'absent',
          'alice+"x@other.example"@example.com': 'absent',
          'IMCEASMTP-alice+40other+2Eexample@example.com': 'absent',
        },
        { recipient_delimiter: '+' },
      ))

    test('sub-addresses with several delimiters', () =>
      answersInBothModes(
        {
          'alice-tag@example.com': 'found',
          'alice+tag-more@example.com': 'found',
          'alice-tag+more@example.com': 'found',
          'a-b+tag@example.com': 'found',
          'a-b-tag@example.com': 'absent',
          'nobody-tag+more@example.com': 'absent',
          '-alice@example.com': 'absent',
        },
        { recipient_delimiter: '+-' },
      ))

    test('sub-addresses are not split unless the settings say so', () =>
      answers({ 'alice+tag@example.com': 'absent' }))

    test('two entries with one address: found, and one warning that names both', () =>
      withList(async (list) => {
        assert.equal(await list.ask('twin@example.com'), 'found')
        assert.equal(await list.ask('twin@example.com'), 'found')
        const warnings = list.log.lines.filter((line) => line.startsWith('warn'))
        assert.equal(warnings.length, 1)
        for (const name of ['twin1', 'twin2']) {
          assert.match(String(warnings[0]).toLowerCase(), new RegExp(`cn=${name},`))
        }
      }))

    // Without an index, each takes Samba several milliseconds of a processor.
    const many = kind === OPENLDAP ? 1000 : 300
    test('many searches at once', () =>
      withList(async (list) => {
        const asked = Array.from({ length: many }, (_, i) =>
          list.ask(i % 2 ? `many${i}@example.com` : `nobody${i}@example.com`),
        )
        const given = await Promise.all(asked)
        assert.equal(
          given.filter((answer, i) => answer === (i % 2 ? 'found' : 'absent')).length,
          many,
        )
        assert.ok(list.report().servers.every(({ connections }) => connections <= 2))
      }))
  })
}
