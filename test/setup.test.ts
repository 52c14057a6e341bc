// The first gal_relay.ini, from what a survey found: each line is one that the settings take.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { readIni } from '../plugins/gal-relay/settings/ini'
import { readSettings } from '../plugins/gal-relay/settings/settings'
import { type FirstSettings, firstSettingsText } from '../plugins/gal-relay/setup/first-settings'

const FOUND: FirstSettings = {
  urls: ['srv://corp.example'],
  urlsFrom: 'which DNS names (_ldap._tcp.corp.example)',
  survey: {
    server: 'ldap://dc1.corp.example:389',
    kind: 'Active Directory',
    isActiveDirectory: true,
    starttls: { problem: 'self-signed\ncertificate' },
    bases: ['DC=corp,DC=example'],
    attributes: ['proxyAddresses'],
    refusal: '',
    domains: [],
    acceptedDomains: [
      { sentTo: '@listed.example', kind: 'authoritative' },
      { sentTo: '@example.com', kind: 'authoritative' },
      { sentTo: 'sub.example', kind: 'authoritative' },
      { sentTo: '@shared.example', kind: 'internal relay' },
      { sentTo: '@partner.example', kind: 'external relay' },
    ],
  },
  bases: ['DC=corp,DC=example'],
  basesFrom: 'all that the server has',
  bindDn: 'CN=haraka,DC=corp,DC=example',
  bindPasswordFile: 'gal_relay.password',
  bindPassword: '',
  tlsCa: '',
  attributes: ['proxyAddresses'],
  attributesFrom: 'entries have addresses in them',
  filter: '',
  hosts: ['listed.example'],
  rows: [['@example.com', 'inbound smtp://192.0.2.1']],
  domains: [],
  domainsFrom: '',
  restrictions: [['hosts', '192.168.1.0/24']],
}

test('the accepted domains of Exchange become rows, where nothing else has one for them', () => {
  const text = firstSettingsText(FOUND)
  const [, routes = ''] = /\[routes\]\n([\s\S]*?)\[restrictions\]/.exec(text) ?? []
  assert.deepEqual(routes.trim().split('\n'), [
    '; inbound by config/host_list, without a row: listed.example',
    '; from the settings of other plugins',
    '@example.com = inbound smtp://192.0.2.1',
    '; the accepted domains of Exchange',
    'sub.example = inbound',
    '; shared.example is shared with another mail system (internal relay); name its host:',
    ';@shared.example = shared smtp://host',
    '@partner.example = always-relay',
  ])
})

test('it observes, nobody relays but whom another plugin named, and the settings take it', () => {
  const text = firstSettingsText(FOUND)
  const settings = readSettings(readIni('config/gal_relay.ini', text), ['listed.example'], '/')
  const policy = settings.policies.get('*:*')
  assert.equal(policy?.enforce, false)
  assert.equal(policy?.restrictions.open, false)
  assert.match(text, /\[restrictions\]\n; from relay_acl_allow\nhosts\[\] = 192\.168\.1\.0\/24\n/)
  assert.match(text, /^; the server offers it, but: self-signed certificate\n;starttls = true$/m)
  const [directory] = settings.directories.all
  assert.deepEqual(directory?.gal.attributes, ['proxyAddresses'])
  assert.equal(directory?.ldap.bind_dn, 'CN=haraka,DC=corp,DC=example')
})
