// What Haraka's log says, line by line: words of strangers in it are words, and what is not said is unknown.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { LogEvent, LoggedTransaction } from '../../plugins/gal-relay/logs/event'
import { LOG_KINDS, logKindOf } from '../../plugins/gal-relay/logs/table'

const UUID = 'C607D482-A3CF-44D2-ACC1-A206AC1F07E2'
const NOW = Date.parse('2026-11-28T12:00:00Z')

function read(name: string, lines: readonly string[]): LogEvent[] {
  const events: LogEvent[] = []
  const kind = LOG_KINDS.find((one) => one.name === name)
  const reader = kind?.open((event) => events.push(event), NOW)
  for (const line of lines) reader?.line(line)
  reader?.end()
  return events
}

const transactions = (events: readonly LogEvent[]): readonly LoggedTransaction[] =>
  events.filter((event) => event.type === 'transaction')

const recipients = (events: readonly LogEvent[]) =>
  transactions(events).flatMap((one) =>
    one.recipients.map(({ address, outcome, rule }) => [address, outcome, rule]),
  )

const core = (text: string, transaction = '.1', level = 'NOTICE') =>
  `[${level}] [${UUID}${transaction}] [core] ${text}`
const own = (text: string) => `[INFO] [${UUID}.1] [gal-relay] ${text}`
const WHO = 'ip=192.0.2.1 rdns=mx.test helo=mx.test account=carol sender=a@b.example'
const WHERE = 'local_ip=10.0.0.5 local_port=587'

describe('Haraka’s log', () => {
  test('has the accepted recipients of this plugin, one for each however many it stands for', () => {
    const line = (to: string) =>
      own(
        `accepted ${WHO} recipient=all@example.com ${WHERE} rule=in-gal path=queue hop="" leaves_as=${to}`,
      )
    const [event] = transactions(
      read('haraka', [
        line('ann@example.com'),
        line('bob@example.com'),
        core('recipient <bob@example.com> code=OK msg="" sender=a@b.example'),
        core('recipient <other@example.com> code=OK msg="" sender=a@b.example'),
        core('disconnect ip=192.0.2.1 rdns=mx.test relay=Y rcpts=2/0/0 lr="" time=0.09', ''),
      ]),
    )
    assert.equal(event?.account, 'carol')
    assert.deepEqual(event?.local, { address: '10.0.0.5', port: 587 })
    assert.deepEqual(
      event?.recipients.map(({ address, outcome, rule }) => [address, outcome, rule]),
      [
        ['all@example.com', 'accepted', 'in-gal'],
        ['other@example.com', 'accepted', ''],
      ],
    )
  })

  test('says OK of those that Haraka refused, because nobody answered', () => {
    const lines = ['a@b.example', 'c@d.example'].map((address) =>
      core(`recipient <${address}> code=OK msg="" sender=""`),
    )
    const end = (rcpts: string) => core(`disconnect ip=192.0.2.1 rcpts=${rcpts} time=1`, '')
    const outcomes = (rcpts: string) =>
      recipients(read('haraka', [...lines, end(rcpts)])).map(([, outcome]) => outcome)
    assert.deepEqual(outcomes('2/0/0'), ['accepted', 'accepted'])
    assert.deepEqual(outcomes('0/0/2'), ['refused', 'refused'])
    assert.deepEqual(outcomes('1/0/1'), ['unclear', 'unclear'])
    const isAccepted = core(
      ' hook=rcpt plugin=rcpt_to.in_host_list function=hook_rcpt params=<c@d.example> retval=OK msg=""',
    )
    assert.deepEqual(
      recipients(
        read('haraka', [...lines.slice(0, 1), isAccepted, ...lines.slice(1), end('1/0/1')]),
      ),
      [
        ['a@b.example', 'refused', ''],
        ['c@d.example', 'accepted', ''],
      ],
    )
    // The connection was cut off, and so is the log.
    assert.deepEqual(recipients(read('haraka', lines.slice(0, 1))), [
      ['a@b.example', 'unclear', ''],
    ])
  })

  test('has words of strangers, which are no lines and no fields', () => {
    const forged = `[NOTICE] [${UUID}.1] [core] recipient <x@y.example> code=OK msg=""`
    const json = `{"level":"NOTICE","uuid":"${UUID}.1","origin":"core","message":"recipient <x@y.example>","code":"OK"}`
    for (const words of [
      forged,
      json,
      'rule=in-gal',
      'level=NOTICE uuid=- origin=core message=x',
    ]) {
      const lines = [
        core(
          `recipient <"${words.replaceAll('"', '\\"')}"@example.com> code=DENY msg="no" sender=""`,
        ),
        core(`helo ${words}`),
        own(
          `refused ip=192.0.2.1 rdns="" helo="${words.replaceAll('"', '\\"')}" account="" sender="" recipient=u@example.com ${WHERE} rule=not-in-gal reply="550 5.1.1 Recipient unknown"`,
        ),
      ]
      const found = recipients(read('haraka', lines))
      assert.deepEqual(
        found.map(([, outcome, rule]) => [outcome, rule]),
        [
          ['refused', ''],
          ['refused', 'not-in-gal'],
        ],
        words,
      )
      assert.equal(found[1]?.[0], 'u@example.com')
    }
  })

  test('has what is observed, before or after Haraka’s own line', () => {
    const line = own(
      `observed DIFFERS ${WHO} recipient=u@example.com ${WHERE} rule=not-in-gal reply="550 5.1.1 Recipient unknown" answered=250`,
    )
    const haraka = core('recipient <u@example.com> code=OK msg="" sender=a@b.example')
    for (const lines of [[haraka, line], [line]]) {
      const [event] = transactions(read('haraka', lines))
      assert.equal(event?.recipients.length, 1)
      assert.equal(event?.recipients[0]?.outcome, 'accepted')
      assert.deepEqual(event?.recipients[0]?.observed, {
        reply: '550 5.1.1 Recipient unknown',
        differs: true,
      })
    }
  })

  test('says when directories were down, and who was held off', () => {
    const lines = [
      'directory ldap://dc1 is up',
      'directory ldap://dc1 is down: connect ECONNREFUSED',
      'other: directory ldap://dc2 is up',
      'no directory server can be asked; recipients are deferred',
      'held off: 192.0.2.0/24 for 30m: 40 of 45 recipients within 10m were unknown',
      'inbound domains: example.com',
    ].map((text) => `2026-11-28T10:00:00.000Z [NOTICE] [-] [gal-relay] ${text}`)
    const events = read('haraka', lines)
    assert.deepEqual(
      events.map((event) => event.type === 'notice' && event.about),
      ['directory', 'directory', 'directory', 'directory', 'harvest'],
    )
    assert.equal(events[0]?.at, Date.parse('2026-11-28T10:00:00.000Z'))
  })

  test('may come by syslog, which leaves out the year', () => {
    const at = (start: string) =>
      transactions(
        read('haraka', [
          `${start} mx haraka[12]: ${core('recipient <a@b.example> code=DENY msg=""')}`,
        ]),
      )[0]?.at
    assert.equal(at('Nov 28 10:00:00'), new Date(2026, 10, 28, 10).getTime())
    assert.equal(at('Dec  3 10:00:00'), new Date(2025, 11, 3, 10).getTime())
    assert.equal(at('2026-11-28T10:00:00.5+00:00'), Date.parse('2026-11-28T10:00:00.500Z'))
    assert.equal(at('once'), undefined)
  })
})

describe('Postfix’s maillog', () => {
  const smtpd = (text: string, service = 'postfix/smtpd') =>
    `Nov 28 10:00:00 mx ${service}[12]: ${text}`
  const received = [
    smtpd('4F1: client=mx.shop.example[203.0.113.9], sasl_method=PLAIN, sasl_username=carol'),
    smtpd('4F1: from=<news@shop.example>, size=100, nrcpt=2 (queue active)', 'postfix/qmgr'),
    smtpd(
      '4F1: to=<ann@in.example>, orig_to=<all@example.com>, relay=a, delay=1, status=sent (ok)',
      'postfix/lmtp',
    ),
    smtpd(
      '4F1: to=<bob@in.example>, orig_to=<all@example.com>, relay=a, delay=1, status=sent (ok)',
      'postfix/lmtp',
    ),
    smtpd('4F1: to=<x@example.com>, relay=none, delay=1, status=deferred (later)', 'postfix/smtp'),
    smtpd('4F1: to=<x@example.com>, relay=a, delay=9, status=bounced (no)', 'postfix/smtp'),
    smtpd('4F1: removed', 'postfix/qmgr'),
  ]

  test('has accepted recipients where they are delivered, once each', () => {
    const [event] = transactions(read('postfix', received))
    assert.equal(event?.client, '203.0.113.9')
    assert.equal(event?.account, 'carol')
    assert.equal(event?.sender, 'news@shop.example')
    assert.deepEqual(recipients(read('postfix', received)), [
      ['all@example.com', 'accepted', ''],
      ['x@example.com', 'accepted', ''],
    ])
  })

  test('has a message twice that a content filter has seen, and those of its own', () => {
    const lines = [
      ...received,
      smtpd(
        '5A2: client=localhost[127.0.0.1], orig_queue_id=4F1, orig_client=mx.shop.example[203.0.113.9]',
      ),
      smtpd('5A2: to=<all@example.com>, relay=a, delay=1, status=sent (ok)', 'postfix/lmtp'),
      smtpd('6B3: uid=0 from=<root>', 'postfix/pickup'),
      smtpd('6B3: to=<all@example.com>, relay=a, delay=1, status=sent (ok)', 'postfix/lmtp'),
    ]
    assert.equal(transactions(read('postfix', lines)).length, 1)
  })

  test('has refusals of recipients, of clients, and of the submission port', () => {
    const reject = (rest: string, service?: string) =>
      smtpd(
        `NOQUEUE: reject: RCPT from unknown[203.0.113.9]: ${rest} proto=ESMTP helo=<x>`,
        service,
      )
    const lines = [
      reject('554 5.7.1 <a@b.example>: Relay access denied; from=<c@d.example> to=<a@b.example>'),
      reject(
        '550 5.1.1 <u@example.com>: Recipient address rejected: User unknown in virtual mailbox table; from=<> to=<u@example.com>',
        'postfix/submission/smtpd',
      ),
      reject(
        '554 5.7.1 Service unavailable; Client host [203.0.113.9] blocked using bl.example; from=<c@d.example> to=<ann@example.com>',
      ),
      reject(
        '450 4.1.8 <c@d.invalid>: Sender address rejected: Domain not found; from=<c@d.invalid> to=<ann@example.com>',
      ),
    ]
    const events = transactions(read('postfix', lines))
    assert.deepEqual(
      events.map(({ recipients: [one], sender, local }) => [
        ...[one?.address, one?.outcome, one?.otherReason, sender, local?.port],
      ]),
      [
        ['a@b.example', 'refused', '', 'c@d.example', undefined],
        ['u@example.com', 'refused', '', '', 587],
        ['ann@example.com', 'refused', 'Service unavailable', 'c@d.example', undefined],
        ['ann@example.com', 'deferred', 'Sender address rejected', 'c@d.invalid', undefined],
      ],
    )
  })
})

test('each kind of log is known by its lines, and nothing else is', () => {
  const kind = (line: string) => logKindOf(line)?.name
  assert.equal(kind(core('connect ip=192.0.2.1')), 'haraka')
  assert.equal(kind('level=INFO uuid=- origin=core message=x'), 'haraka')
  assert.equal(kind('2026 {"level":"INFO","uuid":"-","origin":"plugins","message":"x"}'), 'haraka')
  assert.equal(kind('Nov 28 10:00:00 mx postfix/smtpd[12]: connect from x[192.0.2.1]'), 'postfix')
  assert.equal(kind('#Fields: date-time,client-ip,source,event-id'), 'exchange')
  assert.equal(kind('Starting up Haraka version 3.3.4'), undefined)
  assert.equal(kind('Nov 28 10:00:00 mx sshd[12]: hello'), undefined)
})
