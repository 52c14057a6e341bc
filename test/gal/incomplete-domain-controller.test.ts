// A domain controller that does not hold all that others hold, and says so. A domain controller of the
// tests always has everything, so an OpenLDAP says what one in that state says.
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { describe, test } from 'node:test'
import { probeDirectory } from '../../plugins/gal-relay/gal/directory/probe'
import { skipWithout } from '../support/programs'
import { type SlapdEntry, startSlapd } from '../support/slapd'
import { GAL, LDAP, serverUrl, testList } from './lists'

const BASE = 'dc=corp,dc=test'
const SCHEMA_ENTRIES = `cn=schema,${BASE}`
const TEXT = 'EQUALITY caseIgnoreMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.15'
const SCHEMA = [
  ...['supportedCapabilities', 'isSynchronized', 'schemaNamingContext'],
  ...['lDAPDisplayName', 'searchFlags'],
].map((name, i) => `attributetype ( 1.3.6.1.4.1.4203.666.1.${980 + i} NAME '${name}' ${TEXT} )`)

const described = (name: string, searchFlags: number): SlapdEntry => ({
  dn: `cn=${name},${SCHEMA_ENTRIES}`,
  objectClass: ['device', 'extensibleObject'],
  lDAPDisplayName: name,
  searchFlags: String(searchFlags),
  sn: undefined,
})

/** @param says lines of its root DSE */
async function withController(
  says: readonly string[],
  run: (url: string) => Promise<void>,
): Promise<void> {
  const folder = mkdtempSync(path.join(tmpdir(), 'root-dse-'))
  const file = path.join(folder, 'root.ldif')
  const lines = ['dn:', 'supportedCapabilities: 1.2.840.113556.1.4.800', ...says]
  writeFileSync(file, `${lines.join('\n')}\n`)
  const slapd = await startSlapd({
    schema: [...SCHEMA, `rootDSE ${file}`],
    entries: [
      ...['ann@example.com', 'bob@example.com'].map((mail) => ({
        dn: `cn=${mail},${BASE}`,
        mail,
      })),
      { dn: SCHEMA_ENTRIES, objectClass: 'device', sn: undefined },
      described('mail', 1),
      described('proxyAddresses', 1 | 512),
    ],
  })
  try {
    await run(slapd.url)
  } finally {
    await slapd.stop()
    rmSync(folder, { recursive: true, force: true })
  }
}

/** @returns what the look-ups answer, and what check calls a problem */
async function asked(url: string, isSnapshot: boolean) {
  const ldap = { url: [serverUrl(url)] }
  const folder = mkdtempSync(path.join(tmpdir(), 'controller-'))
  const list = testList(
    ldap,
    { mode: isSnapshot ? 'snapshot' : 'live' },
    { file: path.join(folder, 'list'), changes_every: 2000 },
  )
  try {
    list.start()
    const ann = await list.ask('ann@example.com')
    const nobody = await list.ask('nobody@example.com')
    const [server] = await probeDirectory(GAL, { ...LDAP, ...ldap })
    const findings = server?.findings.filter(({ level }) => level === 'problem') ?? []
    return { ann, nobody, problems: findings.map(({ text }) => text) }
  } finally {
    await list.close()
    rmSync(folder, { recursive: true, force: true })
  }
}

describe('a domain controller that lacks what others have', {
  skip: skipWithout('slapd', 'slapadd'),
}, () => {
  const cases = {
    'it has everything': { says: ['isSynchronized: TRUE'], problem: undefined },
    'it has just joined': {
      says: ['isSynchronized: FALSE'],
      problem: /^the domain controller has not yet received all that others have \(isSynchronized/,
    },
    'it is read-only, and an attribute is not replicated to it': {
      says: [
        'supportedCapabilities: 1.2.840.113556.1.4.1920',
        `schemaNamingContext: ${SCHEMA_ENTRIES}`,
      ],
      problem: /^proxyAddresses: read-only domain controllers do not hold it/,
    },
    'it is not read-only, and that attribute would not be replicated to one': {
      says: [`schemaNamingContext: ${SCHEMA_ENTRIES}`],
      problem: undefined,
    },
  }
  for (const [what, { says, problem }] of Object.entries(cases)) {
    test(what, () =>
      withController(says, async (url) => {
        for (const isSnapshot of [false, true]) {
          const { ann, nobody, problems } = await asked(url, isSnapshot)
          assert.deepEqual([ann, nobody], ['found', problem ? 'unavailable' : 'absent'])
          if (problem) assert.match(problems[0] ?? '', problem)
          assert.equal(problems.length, problem ? 1 : 0, problems.join('\n'))
        }
      }),
    )
  }
})
