// Ten thousand random RCPT lines at a running Haraka: it answers every one of them, goes on answering,
// and takes nothing for anybody who is not in the address list. FUZZ_SEED repeats a run.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { domainToASCII } from 'node:url'
import fc from 'fast-check'
import { startEmbeddedLdap } from './support/embedded-ldap'
import { type Haraka, startHaraka } from './support/haraka'
import { findProgram } from './support/programs'
import { startSlapd } from './support/slapd'
import { connectSmtp, type SmtpClient } from './support/smtp'

const LINES = 10_000
const CONNECTIONS = 8
const LINES_PER_TRANSACTION = 50

const KNOWN = ['alice@example.com', "o'brien@example.com", 'bücher@example.com']

// ── Random lines ─────────────────────────────────────────────────────────────────────────────────

const control = fc.constantFrom(
  '\0',
  '\x01',
  '\b',
  '\t',
  '\v',
  '\r',
  '\x1b',
  '\x7f',
  '\x80',
  '\u2028',
)
const tricky = fc.constantFrom(
  ...'%!@"\\<>()[]:;,. *=+-_/|&#$^`{}?~\'',
  '*)(uid=*))(|(uid=*',
  '\\2a',
  'IMCEASMTP-',
  'imceaex-_O=',
  '__proto__',
  'constructor',
)
const letters = fc.string({ unit: 'grapheme', maxLength: 12 })
const bytes = fc.uint8Array({ maxLength: 40 }).map((raw) => Buffer.from(raw).toString('latin1'))
const anything = fc
  .array(fc.oneof(letters, letters, tricky, control, bytes), { maxLength: 6 })
  .map((parts) => parts.join(''))

const local = fc.oneof(
  fc.constantFrom(
    'alice',
    'Alice',
    '"alice"',
    '"al\\ice"',
    "o'brien",
    'bücher',
    'postmaster',
    'nobody',
    '',
  ),
  fc.string({ maxLength: 20 }),
  anything,
  anything.map((text) => `"${text}"`),
  anything.map((text) => `"${text.replace(/[\\"]/g, '\\$&')}"`),
  fc.tuple(fc.constantFrom('alice', 'x'), tricky, anything).map((parts) => parts.join('')),
  fc.constantFrom(
    'alice%foreign.example',
    'foreign.example!alice',
    '"alice@foreign.example"',
    'IMCEASMTP-alice+40foreign+2Eexample',
  ),
  fc.integer({ min: 60, max: 900 }).map((length) => 'a'.repeat(length)),
)

const domain = fc.oneof(
  fc.constantFrom(
    'example.com',
    'EXAMPLE.com',
    'foreign.example',
    'sub.example.com',
    'com',
    'localhost',
    '',
  ),
  fc.constantFrom(
    'example.com.',
    '.example.com',
    'example..com',
    'example.com\0.foreign.example',
    'foreign.example\0example.com',
  ),
  fc.constantFrom(
    'ｅxample.com',
    'example。com',
    'exam\u00adple.com',
    'еxample.com',
    'xn--example.com',
    'xn--80ak6aa92e.com',
    'bücher.example',
    'ſ.example',
    'ß.example',
  ),
  fc.constantFrom(
    '[127.0.0.1]',
    '[192.0.2.7]',
    '[IPv6:::1]',
    '[IPv6:2001:db8::7]',
    '[300.1.2.3]',
    '[example.com]',
    '[',
    '[]',
    '127.0.0.1',
    '0x7f.1',
  ),
  fc
    .tuple(
      anything,
      fc.constantFrom('.example.com', '@example.com', '.foreign.example', '@foreign.example'),
    )
    .map((parts) => parts.join('')),
  fc.domain(),
  fc.ipV4().map((ip) => `[${ip}]`),
  fc.ipV6().map((ip) => `[IPv6:${ip}]`),
  anything,
)

// What Haraka lets through to the plugin: it refuses most of the rest by itself.
const atomText = fc.string({
  unit: fc.constantFrom(
    ..."abcdefghijklmnopqrstuvwxyzABC0123456789!#$%&'*+-/=?^_`{|}~",
    'é',
    'ß',
    'ſ',
    '中',
    '😀',
    '\u0301',
  ),
  minLength: 1,
  maxLength: 20,
})
const quotable = fc.string({
  unit: fc.oneof(
    fc.constantFrom(...' ()<>[]:;@,.!%=*&|', '\\"', '\\\\', '\\@', '\0', '\t', '\x7f'),
    atomText,
  ),
  maxLength: 8,
})
const goodLocal = fc.oneof(
  fc.array(atomText, { minLength: 1, maxLength: 3 }).map((atoms) => atoms.join('.')),
  quotable.map((text) => `"${text}"`),
  fc.constantFrom(
    'alice',
    'ALICE',
    '"alice"',
    "o'brien",
    'bücher',
    'BÜCHER',
    'postmaster',
    'nobody',
  ),
  fc
    .tuple(fc.constantFrom('alice', 'x'), fc.constantFrom('%', '!', '+', '=', '/'), atomText)
    .map((parts) => parts.join('')),
)
const label = fc.stringMatching(/^[a-z0-9]([a-z0-9-]{0,10}[a-z0-9])?$/)
const goodDomain = fc.oneof(
  fc.constantFrom(
    'example.com',
    'EXAMPLE.Com',
    'sub.example.com',
    'foreign.example',
    'bücher.example',
    'example。com',
  ),
  fc
    .tuple(label, fc.constantFrom('example.com', 'foreign.example', 'com'))
    .map((parts) => parts.join('.')),
  fc.constantFrom('[192.0.2.7]', '[IPv6:2001:db8::7]'),
)
const goodAddress = fc.tuple(goodLocal, goodDomain).map(([user, host]) => `${user}@${host}`)

const address = fc.tuple(local, domain).map(([user, host]) => `${user}@${host}`)
const argument = fc.oneof(
  { weight: 25, arbitrary: goodAddress.map((text) => `<${text}>`) },
  fc.tuple(goodDomain, goodAddress).map(([via, text]) => `<@${via}:${text}>`),
  { weight: 6, arbitrary: address.map((text) => `<${text}>`) },
  { weight: 2, arbitrary: local.map((text) => `<${text}>`) },
  address,
  fc.tuple(domain, domain, address).map(([a, b, text]) => `<@${a},@${b}:${text}>`),
  fc.tuple(address, address).map(([a, b]) => `<${a}> <${b}>`),
  fc.tuple(address, address).map(([a, b]) => `<<${a}>${b}>`),
  fc.tuple(address, anything).map(([text, parameter]) => `<${text}> ${parameter}`),
  fc.tuple(address, letters).map(([text, value]) => `<${text}> NOTIFY=NEVER ORCPT=rfc822;${value}`),
  anything,
)
const line = fc
  .tuple(
    fc.constantFrom('RCPT TO:', 'RCPT TO: ', 'rcpt to:', 'RCPT TO', 'RCPT FROM:'),
    argument,
    fc.integer({ min: 0, max: 40 }),
  )
  .map(([verb, text, luck]) => {
    const whole = `${verb}${text}`
    // Haraka hangs up on lines of more than 512 bytes.
    const long = luck === 0 ? whole.padEnd(1000, 'x') : whole
    return Buffer.from(long, luck === 1 ? 'latin1' : 'utf8').filter((byte) => byte !== 0x0a)
  })

// ── The run ──────────────────────────────────────────────────────────────────────────────────────

// ldapjs' server hangs up on some of the searches, so that it is the second choice here.
const isReal = findProgram('slapd') !== undefined
let directory: { readonly url: string; readonly base: string; stop(): Promise<void> }
let haraka: Haraka
before(async () => {
  directory = isReal ? await startSlapd({ entries: KNOWN }) : await startEmbeddedLdap(KNOWN)
  haraka = await startHaraka({
    logLevel: 'notice',
    ini: `[routes]\nexample.com = inbound\n[ldap]\nurl[] = ${directory.url}\nbase = ${directory.base}\n`,
  })
})
after(async () => {
  await haraka.stop()
  await directory.stop()
})

async function connect(): Promise<SmtpClient> {
  const proxy = { client: '203.0.113.9', local: '10.0.0.5:25' }
  const smtp = await connectSmtp({ port: haraka.port, proxy })
  await smtp.ehlo()
  return smtp
}

/** Sends the lines, some in each transaction, and a message for whoever was accepted. */
async function session(lines: readonly Uint8Array[], count: (code: number) => void): Promise<void> {
  let smtp = await connect()
  for (let start = 0; start < lines.length; start += LINES_PER_TRANSACTION) {
    let accepted = false
    await smtp.mail('a@b.example')
    for (const one of lines.slice(start, start + LINES_PER_TRANSACTION)) {
      const reply = await smtp.command(one)
      count(reply.code)
      const known = [2, 4, 5].includes(Math.floor(reply.code / 100))
      assert.ok(known, `${reply.line} to ${JSON.stringify(Buffer.from(one).toString('latin1'))}`)
      accepted ||= reply.code === 250
      if (reply.code === 521 || reply.code === 421) {
        smtp.close()
        smtp = await connect()
        await smtp.mail('a@b.example')
        accepted = false
      }
    }
    if (accepted) assert.equal((await smtp.data('Subject: x\r\n\r\nx\r\n')).code, 250)
    else await smtp.rset()
  }
  await smtp.quit()
}

test('random RCPT lines are answered, and bring in nothing', async (t) => {
  const seed = Number(process.env.FUZZ_SEED ?? Date.now() % 2 ** 31)
  t.diagnostic(`FUZZ_SEED=${seed}`)
  const lines = fc.sample(line, { numRuns: LINES, seed })
  const codes = new Map<number, number>()
  const count = (code: number) => codes.set(code, (codes.get(code) ?? 0) + 1)
  const share = Math.ceil(lines.length / CONNECTIONS)
  await Promise.all(
    Array.from({ length: CONNECTIONS }, (_, i) =>
      session(lines.slice(i * share, (i + 1) * share), count),
    ),
  )
  t.diagnostic(`replies: ${[...codes].map(([code, times]) => `${times} × ${code}`).join(', ')}`)
  assert.equal(
    [...codes.values()].reduce((sum, times) => sum + times, 0),
    LINES,
  )

  if (isReal) assert.equal(codes.get(451), undefined)
  else await haraka.waitForLog(/directory .* is up/, 40_000, haraka.log().lastIndexOf(' is down: '))
  const smtp = await connect()
  const { rcpt } = await smtp.transaction('a@b.example', ['alice@example.com', 'x@foreign.example'])
  assert.deepEqual(
    rcpt.map(({ line }) => line),
    ['250 recipient <alice@example.com> OK', '550 5.7.1 Relaying is prohibited'],
  )
  await smtp.quit()

  const wrong =
    /plugin timeout|timed out|exception|TypeError|RangeError|gal-relay\] failed|multiple times/i
  assert.deepEqual(haraka.logLines(wrong), [])
  const refusals = haraka.logLines(/\[gal-relay\] (refused|deferred) /)
  assert.ok(refusals.length > LINES / 10)
  // biome-ignore lint/suspicious/noControlCharactersInRegex: none of these may be in the log
  const wellFormed = /^[^\x00-\x1f\x7f]* rule=[a-z-]+ reply="\d{3} [^"]*"$/
  assert.deepEqual(refusals.filter((entry) => !wellFormed.test(entry)).slice(0, 3), [])
  for (const code of [250, 501, 550]) assert.ok((codes.get(code) ?? 0) > LINES / 1000, `${code}`)

  assert.deepEqual(haraka.queueFiles(), [])
  const delivered = new Set(haraka.delivered().flatMap(({ rcpt_to }) => rcpt_to))
  assert.deepEqual(
    [...delivered].filter((to) => !acceptable(to)),
    [],
  )
})

/** True for those in the address list, and for the postmaster of an inbound domain. */
function acceptable(recipient: string): boolean {
  const at = recipient.lastIndexOf('@')
  const host = at < 0 ? '' : domainToASCII(recipient.slice(at + 1))
  const user = (at < 0 ? recipient : recipient.slice(0, at))
    .replace(/^"(.*)"$/su, '$1')
    .replace(/\\(.)/gsu, '$1')
    .toLowerCase()
  if (user === 'postmaster') return host === '' || /(^|\.)example\.com$/.test(host)
  return KNOWN.includes(`${user}@${host}`)
}
