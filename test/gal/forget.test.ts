// What the lists of all directories have remembered of a recipient is dropped by name.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { DirectoryLists } from '../../plugins/gal-relay/gal/directories'
import { recipientOf } from '../../plugins/gal-relay/routing/recipient'
import { readIni } from '../../plugins/gal-relay/settings/ini'
import { readSettings } from '../../plugins/gal-relay/settings/settings'
import { type EmbeddedLdap, startEmbeddedLdap } from '../support/embedded-ldap'

const LOG = { debug() {}, info() {}, notice() {}, warn() {}, error() {} }

let one: EmbeddedLdap
let other: EmbeddedLdap
let lists: DirectoryLists
before(async () => {
  one = await startEmbeddedLdap(['alice@one.test'])
  other = await startEmbeddedLdap(['bob@two.test'])
  const ini = `[gal]
recipient_delimiter = +
[ldap]
url[] = ${one.url}
base = ${one.base}
[directory two]
domains[] = two.test
url[] = ${other.url}
base = ${other.base}
`
  const { directories } = readSettings(readIni('gal_relay.ini', ini), [], '/nowhere')
  lists = new DirectoryLists(directories, () => LOG)
})
after(async () => {
  await lists.close()
  await Promise.all([one.stop(), other.stop()])
})

const kept = () =>
  Object.fromEntries(
    lists.report().map(({ directory, cache }) => [directory, [cache.found, cache.absent]]),
  )

test('in the directories of its domain, under all its names', async () => {
  const tagged = recipientOf('Alice+news', 'one.test')
  const bob = recipientOf('bob', 'two.test')
  assert.equal((await lists.lookup(tagged)).state, 'found')
  assert.equal((await lists.lookup(bob)).state, 'found')
  assert.deepEqual(kept(), { default: [1, 1], two: [1, 0] })
  assert.deepEqual(lists.forget(recipientOf('stranger', 'one.test')), [])
  assert.deepEqual(lists.forget(tagged), ['default'])
  assert.deepEqual(kept(), { default: [0, 0], two: [1, 0] })
  assert.deepEqual(lists.forget(bob), ['two'])
  assert.deepEqual(lists.forget(bob), [])
  assert.equal((await lists.lookup(bob)).state, 'found')
})
