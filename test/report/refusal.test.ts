import assert from 'node:assert/strict'
import { test } from 'node:test'
import { log } from '../../plugins/gal-relay/haraka/log'
import { acceptanceOf, lineOf } from '../../plugins/gal-relay/report/refusal'
import type { Accepted } from '../../plugins/gal-relay/routing/decide'
import { parseNextHop } from '../../plugins/gal-relay/routing/routes'
import { visible } from '../../plugins/gal-relay/visible'

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

/** As Haraka's logger gets it. */
function written<T extends object>(line: T): T {
  const lines: T[] = []
  const lognotice = (_plugin: unknown, _text: string, fields: T) => void lines.push(fields)
  const plugin = { lognotice } as unknown as Haraka.Plugin
  log(plugin, 'notice', plugin, 'refused', line)
  assert.equal(lines.length, 1)
  return lines[0] as T
}

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
    const line = written(lineOf(from, sent, 'mixed', '452'))
    const { rdns, helo, account, sender, recipient } = line
    assert.deepEqual([rdns, helo, account, sender, recipient], Array(5).fill(`a${name}b`))
  }
})

test('a line has the names that Haraka has for what it knows of a connection', () => {
  const line = lineOf({ ...refusal, listener: '2001:db8::5:25' }, 'a@b.example', 'mixed', '452')
  assert.deepEqual(Object.keys(line).join(' '), KEYS)
  assert.deepEqual([line.ip, line.local_ip, line.local_port], ['2001:db8::1', '2001:db8::5', '25'])
})

test('a line of an accepted recipient says which way it goes', () => {
  const verdict = { accept: true, rule: 'relay-hosts', path: 'outbound', hops: [] } as const
  const of = (accepted: Accepted, leaving: string) => {
    const line = written(acceptanceOf(refusal, 'a@b.test', accepted, leaving))
    const { recipient, rule, path, hop, leaves_as } = line
    return [recipient, rule, path, hop, leaves_as]
  }
  assert.deepEqual(of(verdict, 'a@b.test'), ['a@b.test', 'relay-hosts', 'outbound', 'mx', ''])
  const hop = parseNextHop('smtp://user:secret@hop.test')
  assert.ok(!('problem' in hop))
  assert.deepEqual(of({ ...verdict, hops: [hop, hop] }, 'a@c.test\u202e'), [
    ...['a@b.test', 'relay-hosts', 'outbound'],
    ...['smtp://hop.test:25,smtp://hop.test:25', 'a@c.test<U+202E>'],
  ])
  assert.equal(of({ ...verdict, path: 'queue' }, 'a@b.test')[3], '')
})

const KEYS = 'ip rdns helo account sender recipient local_ip local_port rule reply'
