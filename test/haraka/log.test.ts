// What strangers sent is in the log, in errors and on a terminal as text that nobody obeys.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { log, logOf, oneLine } from '../../plugins/gal-relay/haraka/log'
import { DirectoryError, resultError } from '../../plugins/gal-relay/ldap/directory-error'
import { visibleJson } from '../../plugins/gal-relay/visible'

const RUDE = 'a\x1b[2J\r\n2026 [NOTICE] forged \u009b31m \u202e\u2028 b'
// biome-ignore lint/suspicious/noControlCharactersInRegex: those are what is looked for
const UNSEEN = /[\x00-\x1f\x7f-\x9f\u2028\u202e]/

/** As a plugin, with the parts of its lines. */
function recorder(): { plugin: Haraka.Plugin; parts: unknown[][] } {
  const parts: unknown[][] = []
  const write = (...all: unknown[]) => void parts.push(all.slice(1))
  const plugin = {
    logdebug: write,
    loginfo: write,
    lognotice: write,
    logwarn: write,
    logerror: write,
    haraka_require: () => ({ version: '3.3.4' }),
  }
  return { plugin: plugin as unknown as Haraka.Plugin, parts }
}

test('texts, fields and errors of the log are visible', () => {
  const { plugin, parts } = recorder()
  logOf(plugin).warn(RUDE)
  log(plugin, 'notice', plugin, 'refused', { helo: RUDE, port: 25 })
  log(plugin, 'error', plugin, 'failed:', new TypeError(RUDE))
  const [[text], [, fields], [, error]] = parts as [[string], [string, object], [string, Error]]
  assert.match(text, /^a<U\+001B>\[2J<U\+000D><U\+000A>2026 \[NOTICE\] forged /)
  assert.doesNotMatch(text, UNSEEN)
  assert.deepEqual(fields, { helo: text, port: '25' })
  // Haraka logs each line of the stack.
  const [first = '', ...frames] = (error.stack ?? '').split('\n')
  assert.equal(first, `TypeError: ${text}`)
  assert.ok(frames.length > 1)
  for (const frame of frames) {
    assert.match(frame, /^ {4}at /)
    assert.doesNotMatch(frame, UNSEEN)
  }
})

test('a line has an end', () => {
  assert.ok(oneLine('x'.repeat(1e6)).length < 5000)
  assert.ok(resultError(49, 'x'.repeat(1e6)).message.length < 300)
})

test('the words of a directory, of its certificate and of DNS are visible', () => {
  for (const { message } of [new DirectoryError('tls', `TLS: ${RUDE}`), resultError(53, RUDE)]) {
    assert.doesNotMatch(message, UNSEEN)
  }
})

test('JSON says the same, and has no such character in it', () => {
  const json = visibleJson(JSON.stringify({ text: RUDE, pair: '\u{e0041}' }))
  assert.doesNotMatch(json, UNSEEN)
  assert.deepEqual(JSON.parse(json), { text: RUDE, pair: '\u{e0041}' })
})
