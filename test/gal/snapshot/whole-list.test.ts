// Whether something is below an entry: a server that cannot say has not said no.
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { listDefinition } from '../../../plugins/gal-relay/gal/directory/list-definition'
import { WholeList } from '../../../plugins/gal-relay/gal/directory/whole-list'
import type { Connection } from '../../../plugins/gal-relay/ldap/connection'
import { openConnection } from '../../../plugins/gal-relay/ldap/open'
import { readRootDse } from '../../../plugins/gal-relay/ldap/root-dse'
import { type FakeLdap, startFakeLdap } from '../../support/fake-ldap'
import { GAL, LDAP } from '../lists'

const UNIT = 'ou=unit,dc=corp,dc=test'
const SUCCESS = 0
const SIZE_LIMIT_EXCEEDED = 4
const NO_SUCH_OBJECT = 32
const BUSY = 51

describe('what stands below an entry', () => {
  let code = SUCCESS
  let found: readonly string[] = []
  let server: FakeLdap
  let connection: Connection
  let list: WholeList

  before(async () => {
    server = await startFakeLdap(({ base }) =>
      base === UNIT
        ? { code, entries: found.map((dn) => ({ dn, attributes: { mail: 'a@corp.test' } })) }
        : undefined,
    )
    const endpoint = { tls: false, host: '127.0.0.1', port: server.port, name: server.url }
    connection = await openConnection(endpoint, LDAP, new AbortController().signal)
    const definition = listDefinition(GAL, LDAP)
    list = new WholeList(connection, await readRootDse(connection, 1000), definition, 1000)
  })
  after(async () => {
    connection.close()
    await server.stop()
  })

  const hasBelow = (answer: number, ...dns: readonly string[]) => {
    code = answer
    found = dns
    return list.hasBelow(UNIT)
  }

  test('is there or not', async () => {
    assert.equal(await hasBelow(SUCCESS), false)
    assert.equal(await hasBelow(SUCCESS, UNIT), false)
    assert.equal(await hasBelow(SUCCESS, UNIT, `cn=a,${UNIT}`), true)
    assert.equal(await hasBelow(SIZE_LIMIT_EXCEEDED, UNIT, `cn=a,${UNIT}`), true)
    assert.equal(await hasBelow(NO_SUCH_OBJECT), false)
  })

  test('is not known when the search failed', async () => {
    await assert.rejects(hasBelow(BUSY), /busy/)
  })
})
