import assert from 'node:assert/strict'
import { test } from 'node:test'
import { RefusalFields } from '../../plugins/gal-relay/report/refusal'
import { startHaraka } from '../support/haraka'

const refusal = {
  client: '2001:db8::1',
  host: '',
  helo: 'a b',
  account: 'CORP\\carol',
  sender: '"x\\"y = z"@forged.example',
  recipient: 'plain@example.com',
  listener: '10.0.0.5:25',
  rule: 'not-in-gal',
  reply: '550 5.1.1 Recipient\r\nunknown',
}

test("a refusal's fields are written as Haraka's own logger writes them", async () => {
  const same = `exports.register = function () { this.lognotice('fields', ${JSON.stringify(refusal)}) }`
  // Only packages share Haraka's own Object, by which its logger knows fields.
  const folder = 'node_modules/haraka-plugin-same'
  const files = {
    [`${folder}/package.json`]: '{"name":"haraka-plugin-same","main":"index.js"}',
    [`${folder}/index.js`]: same,
  }
  const haraka = await startHaraka({ plugins: ['same'], files })
  try {
    const [line = ''] = haraka.logLines(/\[same\] fields /)
    const { recipient, rule, reply } = refusal
    const fields = new RefusalFields(refusal).of(recipient, rule, reply)
    assert.equal(fields, line.replace(/^.*\[same\] fields /, ''))
  } finally {
    await haraka.stop()
  }
})
