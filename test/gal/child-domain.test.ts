// Active Directory refers to other naming contexts at every search: those of its own that hold no
// recipients change nothing; a child domain does, and is in the Global Catalog.
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { describe, test } from 'node:test'
import { probeDirectory } from '../../plugins/gal-relay/gal/directory/probe'
import type { LdapSettings } from '../../plugins/gal-relay/settings/settings'
import { skipWithout } from '../support/programs'
import { skipWithoutSamba, startSamba } from '../support/samba'
import { startSlapd } from '../support/slapd'
import { GAL, LDAP, serverUrl, testList } from './lists'

const BASE = 'dc=corp,dc=test'
const CHILD = `dc=child,${BASE}`

async function answers(ldap: Partial<LdapSettings>) {
  const list = testList(ldap)
  try {
    return {
      ann: await list.ask('ann@example.com'),
      nobody: await list.answer('nobody@example.com'),
    }
  } finally {
    await list.close()
  }
}

async function partsElsewhere(ldap: Partial<LdapSettings>): Promise<string[]> {
  const [server] = await probeDirectory(GAL, { ...LDAP, ...ldap })
  const findings = server?.findings.filter(({ text }) => /part of the tree/.test(text)) ?? []
  return findings.map(({ level, text }) => `${level} ${text}`)
}

describe('references of Active Directory', () => {
  test('its own partitions hold no recipients', { skip: skipWithoutSamba() }, async () => {
    const samba = await startSamba()
    try {
      await samba.add({
        dn: `cn=ann,cn=Users,${samba.base}`,
        attributes: { objectClass: 'contact', proxyAddresses: 'SMTP:ann@example.com' },
      })
      const { bindDn: bind_dn, password: bind_password, ca: tls_ca } = samba
      const ldap = { url: [serverUrl(`ldaps://${samba.host}:636`)], bind_dn, bind_password, tls_ca }
      const { ann, nobody } = await answers(ldap)
      assert.deepEqual([ann, nobody], ['found', { state: 'absent' }])
      assert.deepEqual(await partsElsewhere(ldap), [])
    } finally {
      await samba.stop()
    }
  })

  // A domain controller of tests has no child: an OpenLDAP says that it is one.
  test('a child domain holds some', { skip: skipWithout('slapd', 'slapadd') }, async () => {
    const folder = mkdtempSync(path.join(tmpdir(), 'root-dse-'))
    const file = path.join(folder, 'root.ldif')
    writeFileSync(file, 'dn:\nsupportedCapabilities: 1.2.840.113556.1.4.800\n')
    const slapd = await startSlapd({
      schema: [
        "attributetype ( 1.2.840.113556.1.4.1 NAME 'supportedCapabilities' " +
          'SYNTAX 1.3.6.1.4.1.1466.115.121.1.38 )',
        `rootDSE ${file}`,
      ],
      entries: [
        'ann@example.com',
        {
          ...{ dn: CHILD, objectClass: ['referral', 'extensibleObject'], dc: 'child' },
          ...{ ref: `ldap://child.corp.test/${CHILD}??sub`, cn: undefined, sn: undefined },
        },
      ],
    })
    try {
      const ldap = { url: [serverUrl(slapd.url)] }
      const { ann, nobody } = await answers(ldap)
      const what = `part of the tree below ${BASE} is at ldap://child.corp.test/${CHILD}??sub`
      const todo = 'use the Global Catalog (port 3268 or 3269, empty base)'
      const text = `${what} and is not searched (referrals = report): ${todo}`
      assert.deepEqual([ann, nobody], ['found', { state: 'unavailable', reason: text }])
      assert.deepEqual(await partsElsewhere(ldap), [`problem ${text}`])
    } finally {
      await slapd.stop()
      rmSync(folder, { recursive: true, force: true })
    }
  })
})
