// `enforce = false`: an install answers as it did before the plugin was installed, and the log says where
// the plugin would have answered differently.
import assert from 'node:assert/strict'
import { createServer } from 'node:net'
import { after, before, describe, test } from 'node:test'
import { FOUND } from '../../plugins/gal-relay/gal/address-list'
import { ObservedTransaction } from '../../plugins/gal-relay/report/observation'
import { answerTo } from '../../plugins/gal-relay/routing/answer'
import { destinationOf, type Listing } from '../../plugins/gal-relay/routing/decide'
import { localParts } from '../../plugins/gal-relay/routing/local-parts'
import { recipientOf } from '../../plugins/gal-relay/routing/recipient'
import { routeTable } from '../../plugins/gal-relay/routing/routes'
import type { AcceptedBefore } from '../../plugins/gal-relay/routing/transaction'
import { startEmbeddedLdap } from '../support/embedded-ldap'
import { type Haraka, type HarakaOptions, startHaraka } from '../support/haraka'
import { freePort } from '../support/ports'
import { connectSmtp } from '../support/smtp'
import { until } from '../support/until'
import {
  type Case,
  entriesOf,
  PASSWORDS,
  type Scenario,
  scenarios,
  unitOf,
} from '../support/vectors'

const OBSERVE = '[main]\nenforce = false\n'
const DIFFERS = /\[NOTICE\].*\[gal-relay\] observed DIFFERS /
const OBSERVED = /\[gal-relay\] observed /

/** An install that handles its domains and its network without the plugin. */
const BEFORE: HarakaOptions = {
  plugins: ['relay', 'rcpt_to.in_host_list', 'test-queue'],
  auth: PASSWORDS,
  hostList: ['example.com'],
  files: { 'config/relay_acl_allow': '192.168.1.0/24\n' },
}
const observing = (options: HarakaOptions, ini: string): HarakaOptions => ({
  ...options,
  plugins: [...(options.plugins ?? []), 'gal-relay'],
  ini: `${OBSERVE}${ini}`,
})

describe('an install that observes answers as it did before', () => {
  let ldap: Awaited<ReturnType<typeof startEmbeddedLdap>>
  before(async () => {
    ldap = await startEmbeddedLdap(scenarios.flatMap(entriesOf))
  })
  after(async () => {
    for (const { without, with_ } of pairs.values())
      await Promise.all([without.stop(), with_.stop()])
    await ldap.stop()
  })

  /** One pair for all scenarios with the same host_list. */
  const pairs = new Map<string, Pair>()
  async function pairFor(scenario: Scenario, index: number): Promise<Pair> {
    const { host_list } = scenario
    const known = pairs.get(String(host_list))
    const port = known?.port ?? (await freePort())
    const hostList = host_list ? '' : '\n[routing]\nhost_list = false\n'
    const directory = `\n[ldap]\nurl[] = ${ldap.url}\nbase = ${unitOf(index)}\n`
    const ini = `${scenario.ini}${hostList}${directory}[http]\nenabled = true\n`
    if (known) {
      await known.with_.reload(`${OBSERVE}${ini}`)
      return known
    }
    const install = { ...BEFORE, ...(host_list ? { hostList: host_list } : {}) }
    const files = { ...install.files, 'config/http.ini': `listen=127.0.0.1:${port}\n` }
    const [without, with_] = await Promise.all([
      startHaraka(install),
      startHaraka(observing({ ...install, files }, ini)),
    ])
    const pair = { without, with_, port, observed: 0, differences: 0 }
    pairs.set(String(host_list), pair)
    return pair
  }
  const linesOf = ({ with_ }: Pair) => ({
    observed: with_.logLines(OBSERVED).length,
    differences: with_.logLines(DIFFERS).length,
  })
  const countsOf = ({ observed, differences }: Pair) => ({ observed, differences })

  scenarios.forEach((scenario, index) => {
    test(scenario.name, async () => {
      const pair = await pairFor(scenario, index)
      const { without, with_, port } = pair
      for (const one of scenario.cases) {
        const given = await replies(without, one)
        assert.deepEqual(await replies(with_, one), given, `${one.client} → ${one.to}`)
        if (/^10\.0\.0\.9:25$/.test(one.local)) continue // that scenario has enabled = false there
        ;[one.reply].flat().forEach((verdict, recipient) => {
          const answer = given.rcpt[recipient]?.[0]
          if (answer === undefined || answer.startsWith('501')) return
          pair.observed++
          if (verdict[0] !== answer[0]) pair.differences++
        })
      }
      // The plugin's own answers may come after the client has gone.
      await until(() => with_.logLines(OBSERVED).length >= pair.observed)
      const metrics = await (await fetch(`http://127.0.0.1:${port}/gal-relay/metrics`)).text()
      assert.equal(sumOf(metrics, 'answers_total{.*mode="observe"'), pair.observed)
      assert.equal(sumOf(metrics, 'answers_total{.*mode="enforce"'), 0)
      assert.equal(sumOf(metrics, 'observe_differences_total{'), pair.differences)
      assert.deepEqual(linesOf(pair), countsOf(pair))
    })
  })

  test('and logs nothing else', async () => {
    for (const pair of pairs.values()) {
      await pair.with_.end()
      assert.deepEqual(linesOf(pair), countsOf(pair))
    }
  })
})

/** The same install without the plugin, and with it. */
interface Pair {
  readonly without: Haraka
  readonly with_: Haraka
  /** Where the metrics are served. */
  readonly port: number
  /** Recipients observed so far, and those that the plugin would have answered differently. */
  observed: number
  differences: number
}

function sumOf(metrics: string, pattern: string): number {
  const samples = metrics.matchAll(new RegExp(`^gal_relay_${pattern}.* (\\d+)$`, 'gm'))
  return [...samples].reduce((sum, [, value]) => sum + Number(value), 0)
}

async function replies(haraka: Haraka, { client, local, auth, from, to }: Case) {
  const smtp = await connectSmtp({ port: haraka.port, proxy: { client, local } })
  try {
    await smtp.ehlo()
    if (auth === 'carol' || auth === 'guest') await smtp.auth(auth, PASSWORDS[auth])
    const { mail, rcpt } = await smtp.transaction(from ?? 'something@sender.example', [to].flat())
    return { mail: mail.lines, rcpt: rcpt.map(({ lines }) => lines) }
  } finally {
    await smtp.quit()
  }
}

/** Answers some recipients by itself, and leaves all others to the next plugins. */
const MOODY = `exports.hook_rcpt = (next, connection, [{ user }]) => {
  if (user === 'later') return next(DENYSOFT, 'not now')
  if (user === 'gone') return next(DENYDISCONNECT, 'go away')
  next()
}
exports.hook_rcpt_ok = (next, connection, { user }) => user === 'second' ? next(DENY, 'no') : next()
exports.hook_deny = (next, connection, [, , , , [recipient]]) =>
  next(recipient?.user === 'later' && recipient.host === 'pardoned.example' ? OK : CONT)`

describe('observing', () => {
  const inside = { client: '192.168.1.7', local: '10.0.0.5:25' }
  const outside = { client: '192.0.2.77', local: '10.0.0.5:25' }
  const entries = entriesOf(
    { name: '', source: '', ini: '', gal: ['alice@example.com'], cases: [] },
    0,
  )
  let ldap: Awaited<ReturnType<typeof startEmbeddedLdap>>
  let haraka: Haraka
  const ini = (url = ldap.url) =>
    `[routes]\nexample.com = inbound\n[ldap]\nurl[] = ${url}\nbase = ${unitOf(0)}\n`

  before(async () => {
    ldap = await startEmbeddedLdap(entries)
    const install = {
      ...BEFORE,
      plugins: ['moody', ...(BEFORE.plugins ?? [])],
      files: { ...BEFORE.files, 'plugins/moody.js': MOODY },
    }
    haraka = await startHaraka(observing(install, ini()))
  })
  after(async () => {
    await haraka?.stop()
    await ldap?.stop()
  })

  /** Reloads these settings, and drops the log before. */
  async function withSettings(text: string): Promise<void> {
    haraka.forgetLog()
    await haraka.reload(text)
  }
  const untilObserved = (count: number) =>
    until(() => haraka.logLines(OBSERVED).length >= count, `${count} recipients are observed`)

  test('logs both answers, and changes neither where a message goes nor its results', async () => {
    await withSettings(`${OBSERVE}${ini()}`)
    const body = 'Subject: way\r\n\r\nbody\r\n'
    const submitted = await send(haraka, inside, ['alice@example.com', 'bob@far.example'], body)
    assert.deepEqual(submitted, [250, 250, 250])
    const received = await send(haraka, outside, ['alice@example.com', 'nobody@example.com'], body)
    assert.deepEqual(received, [250, 250, 250])
    assert.deepEqual(await send(haraka, outside, ['bob@far.example']), [550])
    await untilObserved(5)

    // Haraka without the plugin sends all of a relaying client's mail by its outbound queue.
    const out = haraka.outboundMessages().flatMap(({ rcpt_to }) => rcpt_to)
    assert.deepEqual(out.sort(), ['alice@example.com', 'bob@far.example'])
    assert.deepEqual(
      haraka.delivered().map(({ rcpt_to, relaying }) => [rcpt_to, relaying.data_post]),
      [[['alice@example.com', 'nobody@example.com'], false]],
    )
    const lines = haraka.logLines(OBSERVED).map((line) => line.replace(/^.*\] observed/, ''))
    assert.deepEqual(lines.map(brief), [
      ' ip=192.168.1.7 recipient=alice@example.com rule=in-gal reply=250 answered=250',
      ' DIFFERS ip=192.168.1.7 recipient=bob@far.example rule=no-relay-nobody reply="550 5.7.1 Relaying is prohibited" answered=250',
      ' ip=192.0.2.77 recipient=alice@example.com rule=in-gal reply=250 answered=250',
      ' DIFFERS ip=192.0.2.77 recipient=nobody@example.com rule=not-in-gal reply="550 5.1.1 Recipient unknown" answered=250',
      ' ip=192.0.2.77 recipient=bob@far.example rule=no-relay-nobody reply="550 5.7.1 Relaying is prohibited" answered="550 I cannot deliver mail for <bob@far.example>"',
    ])
    assert.deepEqual(haraka.logLines(/\[(ERROR|CRIT)\].*gal-relay/), [])
    assert.match(haraka.log(), /only observes \(enforce = false\)/)
  })

  test('knows the answers of other plugins, also those that end the connection', async () => {
    await withSettings(`${OBSERVE}${ini()}`)
    const to = [
      'later@example.com',
      'second@example.com',
      'later@pardoned.example',
      'alice@example.com',
      'gone@example.com',
    ]
    const smtp = await connectSmtp({ port: haraka.port, proxy: outside })
    await smtp.ehlo()
    const { rcpt } = await smtp.transaction('me@sender.example', to)
    assert.deepEqual(
      rcpt.map(({ line }) => line),
      [
        '450 not now',
        '550 no',
        '550 I cannot deliver mail for <later@pardoned.example>',
        '250 recipient <alice@example.com> OK',
        '550 go away',
      ],
    )
    await untilObserved(to.length)
    const answered = haraka
      .logLines(OBSERVED)
      .map((line) => line.replace(/^.*observed(?: (DIFFERS))?.* answered=/, '$1 '))
    assert.deepEqual(answered.sort(), [
      ' "550 I cannot deliver mail for <later@pardoned.example>"',
      ' "550 go away"',
      ' "550 no"',
      ' 250',
      'DIFFERS "450 not now"',
    ])
  })

  test('does not wait for a directory that never answers', async () => {
    const silent = createServer(() => {}).listen(0, '127.0.0.1')
    await new Promise((resolve) => silent.once('listening', resolve))
    const address = silent.address()
    assert.ok(address && typeof address === 'object')
    const times = 'connect_timeout = 8s\nquery_timeout = 8s\nanswer_within = 10s\n'
    await withSettings(`${OBSERVE}${ini(`ldap://127.0.0.1:${address.port}`)}${times}`)
    try {
      const to = ['alice@example.com', 'nobody@example.com', 'bob@far.example']
      assert.deepEqual(await send(haraka, outside, to), [250, 250, 550])
      assert.deepEqual(haraka.logLines(/rule=directory-unavailable/), [], 'verdicts so far')
      // The verdict comes when the plugin gives the directory up, after the client has gone.
      await haraka.waitForLog(/observed DIFFERS .*nobody@example.com.* rule=directory-unavailable /)
      await untilObserved(to.length)
    } finally {
      silent.close()
    }
  })

  test('one listener observes while another enforces; a reload changes which', async () => {
    const to = async (local: string) =>
      (await send(haraka, { ...inside, local }, ['bob@far.example']))[0]
    await withSettings(`[listener *:25]\nenforce = false\n${ini()}`)
    assert.equal(await to('10.0.0.5:25'), 250)
    assert.equal(await to('10.0.0.5:2525'), 550)
    await haraka.reload(`[listener *:2525]\nenforce = false\n${ini()}`)
    assert.equal(await to('10.0.0.5:25'), 550)
    assert.equal(await to('10.0.0.5:2525'), 250)
    await untilObserved(2)
  })

  test('after a plugin that rewrites and before those that accept, as the docs say', async () => {
    const other = await startHaraka({
      ...BEFORE,
      plugins: ['aliases', 'gal-relay', 'rcpt_to.in_host_list', 'test-queue'],
      files: {
        'config/aliases': '{"sales@example.com":{"action":"alias","to":"gone@example.com"}}',
      },
      ini: `${OBSERVE}${ini()}`,
    })
    try {
      const to = ['sales@example.com', 'alice@example.com', 'nobody@example.com']
      assert.deepEqual(await send(other, outside, to), [250, 250, 250])
      await until(() => other.logLines(OBSERVED).length >= to.length)
      const differing = other.logLines(DIFFERS).map((line) => / recipient=(\S+)/.exec(line)?.[1])
      assert.deepEqual(differing, ['sales@example.com', 'nobody@example.com'])
    } finally {
      await other.stop()
    }
  })

  test('begins with a reload, also for recipients that an earlier plugin accepts', async () => {
    await withSettings(ini())
    await haraka.waitForLog(/rcpt_to\.in_host_list comes before gal-relay .* is not asked/)
    const nobody = () => send(haraka, outside, ['nobody@example.com'])
    assert.deepEqual(await nobody(), [250])
    assert.deepEqual(haraka.logLines(OBSERVED), [])
    const from = haraka.log().length
    await haraka.reload(`${OBSERVE}${ini()}`)
    await haraka.waitForLog(/accepts .*: once enforced, gal-relay is not asked/, undefined, from)
    for (let sent = 0; sent < 2; sent++) assert.deepEqual(await nobody(), [250])
    await untilObserved(2)
    assert.equal(haraka.logLines(DIFFERS).length, 2)
    assert.equal(haraka.logLines(OBSERVED).length, 2)
  })
})

const FIELDS = /^( DIFFERS)?.* (ip=\S+) .*(recipient=\S+) .*(rule=.*)$/
const brief = (line: string) => line.replace(FIELDS, '$1 $2 $3 $4')

/** @returns the codes of the replies to each recipient, and to the message if one is sent */
async function send(
  haraka: Haraka,
  proxy: { client: string; local: string },
  to: readonly string[],
  body?: string,
): Promise<number[]> {
  const smtp = await connectSmtp({ port: haraka.port, proxy })
  try {
    await smtp.ehlo()
    const { rcpt, data } = await smtp.transaction('me@sender.example', to, body)
    return [...rcpt, ...(data ? [data] : [])].map(({ code }) => code)
  } finally {
    await smtp.quit()
  }
}

describe('verdict and answer of one recipient are brought together', () => {
  const routing = {
    reroute: true,
    routes: routeTable([]),
    hostList: new Set(['in.test']),
    anyDomain: false,
    alwaysAccept: localParts([]),
    mailboxHosts: new Map(),
    isOwn: () => false,
    delimitersFor: () => '',
  }
  const client = { trust: { mayRelay: true, rule: 'hosts' }, authenticated: false } as const
  /** @returns a function that answers for a recipient of ours (`queue`), or another one (`outbound`) */
  const accept =
    (
      mixed: 'split' | 'defer',
      path: 'queue' | 'outbound',
      found: Listing | Promise<Listing> = FOUND,
    ) =>
    (before: Promise<AcceptedBefore>) => {
      const recipient = recipientOf('a', path === 'queue' ? 'in.test' : 'out.test')
      const question = { policy: { routing, mixed }, client, lookup: () => found }
      return answerTo(question, [destinationOf(routing, recipient)], before)
    }
  const accepted = { address: 'a@in.test', action: 'accept' } as const
  const deferred = { address: 'b@in.test', action: 'tempfail' } as const

  test('whichever comes first', async () => {
    const observed = new ObservedTransaction()
    let say: (found: Listing) => void = () => {}
    const late = observed.add(
      0,
      accept('split', 'queue', new Promise((resolve) => (say = resolve))),
    )
    observed.answered([accepted])
    const soon = observed.add(1, accept('split', 'queue'))
    say(FOUND)
    assert.deepEqual((await late).given, { outcome: 'accepted', reply: '250' })
    observed.answered([accepted, deferred])
    assert.deepEqual((await soon).given, { outcome: 'deferred', reply: '450' })
  })

  test('a client that left before its answer has none', async () => {
    const observed = new ObservedTransaction()
    const one = observed.add(0, accept('split', 'queue'))
    observed.end()
    assert.equal((await one).given, undefined)
  })

  test('mixed = defer counts the recipients before it, in order, however late their verdicts are', async () => {
    const observed = new ObservedTransaction()
    let say: (found: Listing) => void = () => {}
    const first = observed.add(
      0,
      accept('defer', 'queue', new Promise((resolve) => (say = resolve))),
    )
    const second = observed.add(1, accept('defer', 'outbound'))
    say(FOUND)
    observed.answered([accepted, accepted])
    assert.equal((await first).verdict.accept, true)
    assert.equal((await second).verdict.rule, 'mixed')
  })
})
