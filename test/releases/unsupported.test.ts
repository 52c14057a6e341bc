// A Haraka that the plugin cannot work with does not start with it.
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { OLDEST } from '../../plugins/gal-relay/haraka/internals'
import { harakaStartFailure } from '../support/haraka'

const INI = '[ldap]\nurl[] = ldap://127.0.0.1:1\nbase = dc=corp\n'

describe('Haraka does not start', () => {
  it(`that says it is older than ${OLDEST}`, async () => {
    const output = await startWith("this.haraka_require('package.json').version = '3.0.2'")
    assert.match(output, /gal-relay needs Haraka 3\.0\.3 or newer, but this is Haraka 3\.0\.2/)
  })

  for (const [part, change] of [
    [
      'outbound has no process_delivery()',
      "delete this.haraka_require('outbound').process_delivery",
    ],
    [
      'connection has no Connection.prototype.received_line()',
      "delete this.haraka_require('connection').Connection.prototype.received_line",
    ],
    [
      'outbound has no HMailItem.obtls.get_tls_options()',
      "this.haraka_require('outbound').HMailItem.obtls = {}",
    ],
  ] as const) {
    it(`whose ${part}`, async () => {
      const output = await startWith(change)
      assert.match(output, /gal-relay cannot work with Haraka 3\.\d+\.\d+, in which /)
      assert.ok(output.includes(`in which ${part}`), output)
    })
  }
})

/** @param change what a plugin does that is loaded before @returns what Haraka printed */
function startWith(change: string): Promise<string> {
  return harakaStartFailure({
    plugins: ['other', 'gal-relay'],
    ini: INI,
    files: { 'plugins/other.js': `exports.register = function () { ${change} }\n` },
  })
}
