// Rows and entries that are said to make no difference make none.
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { unreachable } from '../../plugins/gal-relay/advice/unreachable'
import { readIni } from '../../plugins/gal-relay/settings/ini'
import { readSettings } from '../../plugins/gal-relay/settings/settings'

const LDAP = '[ldap]\nurl[] = ldap://127.0.0.1\nbase = dc=test\n'

const said = (text: string, hostList: string[] = []) =>
  unreachable(readSettings(readIni('config/gal_relay.ini', LDAP + text), hostList, '/'))

describe('rows that make no difference', () => {
  const OFF = '[routing]\nreroute = false\n'

  it('are those that there are not with reroute = false, unless they keep a domain from being inbound', () => {
    const why = 'with reroute = false there are no forward rows'
    const row = '[routes] s.a.test = forward smtp://hop:25'
    const rows = '[routes]\ns.a.test = forward smtp://hop\n'
    assert.deepEqual(said(OFF + rows), [`${row} has no effect: ${why}`])
    assert.deepEqual(said(`${OFF}${rows}a.test = inbound\n`), [
      `${row} only makes s.a.test foreign: ${why}`,
    ])
    assert.deepEqual(said(OFF + rows, ['x.s.a.test']), [
      `${row} only makes s.a.test foreign: ${why}`,
      'config/host_list: x.s.a.test is not inbound, because row s.a.test is forward',
    ])
    assert.deepEqual(said(`${OFF}[routes]\nann@a.test = forward smtp://hop\na.test = inbound\n`), [
      `[routes] ann@a.test = forward smtp://hop:25 has no effect: ${why}`,
    ])
  })

  it('are not those before the row of the address without its detail', () => {
    const rows = '[routes]\na.test = inbound\nann+x@a.test = inbound\n'
    const delimiter = '[gal]\nrecipient_delimiter = +\n'
    const line = '[routes] ann+x@a.test = inbound changes nothing: a.test says the same'
    assert.deepEqual(said(rows + delimiter), [line])
    assert.deepEqual(said(`${rows}ann@a.test = accept\n${delimiter}`), [])
    assert.deepEqual(said(`${rows}ann@a.test = refuse\n${delimiter}`), [])
    assert.deepEqual(said(`${rows}ann@a.test = accept\n`), [line])
  })

  it('are refuse rows that refuse nobody, or whom nobody accepts', () => {
    const row = '[routes]\nann+x@a.test = refuse\n'
    const foreign =
      '[routes] ann+x@a.test = refuse refuses only clients that are refused anyway: a.test is foreign'
    assert.deepEqual(said(row), [foreign])
    assert.deepEqual(said(`${row}ann@a.test = inbound\n`), [foreign])
    const delimiter = '[gal]\nrecipient_delimiter = +\n'
    assert.deepEqual(said(`${row}ann@a.test = inbound\n${delimiter}`), [])
    assert.deepEqual(said(`${row}[gal]\nany_domain = true\n`), [])
    const open = `${row}a.test = inbound\n[restrictions]\nopen = true\n`
    assert.deepEqual(said(open), [
      '[routes] ann+x@a.test = refuse refuses nobody: everybody may relay',
    ])
    assert.deepEqual(said(`${open}never[] = 192.0.2.0/24\n`), [])
  })
})

describe('entries that make no difference', () => {
  const entries = '[restrictions]\nhosts[] = 192.0.2.9\nnever[] = 192.0.2.0/24\n'

  it('are those in never[], and those of a wider network', () => {
    const never = 'hosts[] = 192.0.2.9 lets nobody relay: it is in never[] = 192.0.2.0/24'
    assert.deepEqual(said(entries), [never])
    assert.deepEqual(said(`${entries}[listener *:25]\nopen = true\n`), [never])
    assert.deepEqual(said('[restrictions]\nnever[] = 192.0.2.9\nnever[] = 192.0.2.0/24\n'), [
      'never[] = 192.0.2.9 changes nothing: it is in never[] = 192.0.2.0/24',
    ])
  })

  it('are not those that count on another listener', () => {
    assert.deepEqual(said(`${entries}[listener *:587]\nnever[] = 198.51.100.0/24\n`), [])
    assert.deepEqual(said(`${entries}[listener *:587]\nhosts[] = 192.0.2.9\nnever[] =\n`), [])
  })
})
