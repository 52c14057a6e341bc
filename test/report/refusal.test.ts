import assert from 'node:assert/strict'
import { test } from 'node:test'
import { lineOf, RefusalFields, type Sender } from '../../plugins/gal-relay/report/refusal'
import type { Rule } from '../../plugins/gal-relay/routing/decide'
import { visible } from '../../plugins/gal-relay/visible'
import { startHaraka } from '../support/haraka'

const refusal = {
  client: '2001:db8::1',
  host: '',
  helo: 'a b',
  account: 'CORP\\carol',
  sender: '"x\\"y = z"@forged.example',
  recipient: 'plain@example.com',
  listener: '10.0.0.5:25',
  rule: 'not-in-gal' as const,
  reply: '550 5.1.1 Recipient\r\nunknown',
}

function written(from: Sender, recipient: string, rule: Rule, reply: string): string {
  const pieces: string[] = []
  new RefusalFields(from).addLines(pieces, [recipient], rule, reply, '\n')
  return pieces.join('')
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
    const fields = written(refusal, recipient, rule, reply)
    assert.equal(fields, line.replace(/^.*\[same\] fields /, ''))
  } finally {
    await haraka.stop()
  }
})

test('nothing that a stranger sent is unseen, turns the text around or is obeyed by a terminal', () => {
  const plain = '!#$%&*+-/=?^_`{|}~ größe 用户 😀 <b>'
  assert.equal(visible(plain), plain)
  const hidden = {
    '\u0085': '<U+0085>',
    '\u009b31m': '<U+009B>31m',
    '\u001b[31m': '<U+001B>[31m',
    '\u202e': '<U+202E>',
    '\u2066': '<U+2066>',
    '\u200b': '<U+200B>',
    '\u00ad': '<U+00AD>',
    '\u00a0': '<U+00A0>',
    '\u2028': '<U+2028>',
    '\u3164': '<U+3164>',
    '\ud83d': '<U+D83D>',
    '\u{e0041}': '<U+E0041>',
  }
  for (const [character, name] of Object.entries(hidden)) {
    assert.equal(visible(`a${character}b`), `a${name}b`)
    const sent = `a${character}b`
    const from = { ...refusal, helo: sent, host: sent, account: sent, sender: sent }
    const fields = written(from, sent, 'mixed', '452')
    const shown = `a${name}b`
    assert.equal(
      fields,
      `client=2001:db8::1 host=${shown} helo=${shown} account=${shown} sender=${shown} recipient=${shown} listener=10.0.0.5:25 rule=mixed reply=452`,
    )
    const { host, helo, account, sender, recipient } = lineOf(from, sent, 'mixed', '452')
    assert.deepEqual([host, helo, account, sender, recipient], Array(5).fill(shown))
  }
})
