// What explain says, and which settings are wrong, beside what the rulebook says in rulebook.ts.
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { explain } from '../../plugins/gal-relay/advice/explain'
import { ABSENT, type GalAnswer } from '../../plugins/gal-relay/gal/address-list'
import { DirectoryLists } from '../../plugins/gal-relay/gal/directories'
import type { GlobalAddressList } from '../../plugins/gal-relay/gal/global-address-list'
import { mailboxAttributes, mailboxOf } from '../../plugins/gal-relay/gal/mailbox-values'
import { ListWithOtherNames, otherNames } from '../../plugins/gal-relay/gal/other-names'
import type { Entry } from '../../plugins/gal-relay/ldap/entry'
import type { Recipient } from '../../plugins/gal-relay/routing/recipient'
import { readIni } from '../../plugins/gal-relay/settings/ini'
import { SettingsError } from '../../plugins/gal-relay/settings/problem'
import {
  type GalSettings,
  readSettings,
  type Settings,
} from '../../plugins/gal-relay/settings/settings'
import type { Configuration, Directory, GalEntry, Sent, Session } from './configuration'
import { configuration, iniOf, recipient, session } from './random-rules'
import { answersTo, keyOf, wrongIn } from './rulebook'

const OWN = {
  name: 'mx.a.test',
  names: new Set(['mx.a.test']),
  addresses: new Set(['192.0.2.200']),
  listeners: [{ host: '0.0.0.0', port: 25 }],
}

function settingsOf(config: Configuration): Settings | SettingsError {
  try {
    const ini = readIni('config/gal_relay.ini', iniOf(config))
    return readSettings(ini, config.hostList, '/', OWN)
  } catch (error) {
    if (error instanceof SettingsError) return error
    throw error
  }
}

const valuesOf = (type: string, value: string | undefined) =>
  value === undefined ? [] : [{ type, values: [Buffer.from(value)] }]

const entryOf = ({ host, routing }: GalEntry): Entry => ({
  dn: 'cn=x',
  attributes: [...valuesOf('mailhost', host), ...valuesOf('mailroutingaddress', routing)],
})

/** The directory's list in memory, with the other names of a recipient as the plugin has them. */
function listOf({ isDown, entries }: Directory, gal: GalSettings): GlobalAddressList {
  const lookup = ({ plainLocal, domain }: Recipient): GalAnswer => {
    if (isDown) return { state: 'unavailable', reason: 'down' }
    const key = keyOf({ local: plainLocal, domain })
    const holders = entries.filter(({ address }) => address === key)
    if (holders.length === 0) return ABSENT
    const attributes = mailboxAttributes(gal)
    const mailbox = attributes && mailboxOf(holders.map(entryOf), attributes)
    const authenticatedOnly = holders.every(({ staffOnly }) => staffOnly)
    return { state: 'found', authenticatedOnly, ...(mailbox ? { mailbox } : {}) }
  }
  const plain = { start() {}, lookup, async close() {} }
  const others = otherNames(gal)
  const list = others ? new ListWithOtherNames(plain, others) : plain
  return {
    start() {},
    lookup: (asked) => list.lookup(asked),
    async close() {},
    forget: () => false,
    isAway: () => isDown,
    report: () => assert.fail('nobody asks for reports'),
  }
}

const log = { debug() {}, info() {}, notice() {}, warn() {}, error() {} }

/** In the order of the directories, of which the default one is the first. */
function listsOf({ directories }: Configuration, settings: Settings): DirectoryLists {
  const left = [...directories]
  return new DirectoryLists(
    settings.directories,
    () => log,
    ({ gal }) => listOf(left.shift() ?? assert.fail('one directory more'), gal),
  )
}

const question = ({ client, address, port, account }: Session, recipients: readonly Sent[]) => ({
  recipients: recipients.map(({ local, domain }) => (domain ? `${local}@${domain}` : local)),
  client,
  listener: `${address.includes(':') ? `[${address}]` : address}:${port}`,
  ...(account ? { account } : {}),
})

const transaction = fc.tuple(session, fc.array(recipient, { minLength: 1, maxLength: 4 }))
const transactions = fc.array(transaction, { minLength: 1, maxLength: 12, size: 'max' })

describe('the rulebook', () => {
  it('is what explain says', async () => {
    const agrees = async (config: Configuration, asked: [Session, Sent[]][]) => {
      const settings = settingsOf(config)
      fc.pre(!(settings instanceof Error))
      const lists = listsOf(config, settings)
      for (const [client, recipients] of asked) {
        const expected = answersTo(config, client, recipients)
        const explained = await explain(settings, lists, question(client, recipients))
        const said = explained.map(
          ({ reply, rule, path, next_hops, delivered_as, directory }, i) => ({
            reply: reply.slice(0, expected[i]?.reply.length),
            rule,
            ...(path ? { path, hops: next_hops, deliveredAs: delivered_as } : {}),
            ...(directory ? { directory } : {}),
          }),
        )
        assert.deepEqual(said, expected, JSON.stringify([client, recipients]) + iniOf(config))
      }
    }
    await fc.assert(fc.asyncProperty(configuration, transactions, agrees), { numRuns: 200 })
  })

  it('is what settings are checked by', () => {
    const agrees = (config: Configuration) => {
      const settings = settingsOf(config)
      const problem = settings instanceof Error ? settings.message : undefined
      const wrong = wrongIn(config)
      assert.equal(Boolean(problem), Boolean(wrong), `${problem}\n${wrong}\n${iniOf(config)}`)
    }
    fc.assert(fc.property(configuration, agrees), { numRuns: 300 })
  })
})
