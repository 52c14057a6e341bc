// Messages for many recipients: their disk space and CPU time grow with the number of recipients, not with
// its square, and the number of recipients by LMTP is limited.
import assert from 'node:assert/strict'
import { after, before, describe, it, test } from 'node:test'
import { Address } from '@haraka/email-address'
import { Delivery } from '../../plugins/gal-relay/delivery/delivery'
import { nameAsWritten } from '../../plugins/gal-relay/delivery/outbound'
import {
  acceptRecipient,
  beginRcpt,
  endRcpts,
  targetsOf,
} from '../../plugins/gal-relay/delivery/recipients'
import { ObservedTransaction } from '../../plugins/gal-relay/report/observation'
import type { Destination } from '../../plugins/gal-relay/routing/decide'
import { DomainMap } from '../../plugins/gal-relay/routing/domain-map'
import { recipientOf } from '../../plugins/gal-relay/routing/recipient'
import { AcceptedBefore, LMTP_RECIPIENTS } from '../../plugins/gal-relay/routing/transaction'
import type { Directories } from '../../plugins/gal-relay/settings/directories'
import { type Gateway, startGateway } from '../support/gateway'
import type { OutboundMessage } from '../support/haraka'
import { type LmtpServer, startLmtp } from '../support/lmtp-server'
import { until } from '../support/until'

const MESSAGE = 'From: a@sender.test\r\nSubject: many\r\n\r\nHello.\r\n'
const accepted = (path: 'queue' | 'outbound') =>
  ({ accept: true, rule: 'in-gal', path, hops: [] }) as const
const DESTINATION: Destination = {
  ...{ recipient: recipientOf('u', 'in.test'), kind: 'inbound', hops: [] },
  ...{ row: 'in.test', rerouted: undefined, refused: undefined },
}
/** No directory has attributes that say where mail goes. */
const NONE: Directories = { all: [], otherwise: [], byDomain: new DomainMap(), without: [] }

describe('a message for many recipients', () => {
  const domains = Array.from({ length: 40 }, (_, i) => `d${i}.test`)
  const isOfThese = ({ domain }: OutboundMessage) => domains.includes(domain)
  let lmtp: LmtpServer
  let gateway: Gateway
  before(async () => {
    lmtp = await startLmtp(() => '250 2.0.0 OK')
    gateway = await startGateway({
      people: ['anna@lmtp.test', 'anna@in.test'],
      routes: [
        `lmtp.test = inbound lmtp://127.0.0.1:${lmtp.port}`,
        'in.test = inbound',
        'old.test = reroute d0.test',
        // Nothing listens there.
        ...domains.map((domain) => `${domain} = always-relay smtp://127.0.0.1:9`),
      ],
      ini: '[gal]\nrecipient_delimiter = +\n',
    })
  })
  after(async () => {
    await gateway?.stop()
    await lmtp?.stop()
  })

  it('behind lmtp:// has to come in several transactions, and each recipient gets one copy', async () => {
    const all = Array.from({ length: 230 }, (_, i) => `anna+${i}@lmtp.test`)
    const counts: number[] = []
    const client = await gateway.client()
    let left = all
    while (left.length > 0) {
      // Other recipients of the same message are not affected.
      const to = [...left, 'anna@in.test']
      const { rcpt, data } = await client.transaction('a@sender.test', to, MESSAGE)
      assert.equal(data?.code, 250)
      assert.equal(rcpt.at(-1)?.code, 250)
      left = left.filter((_, i) => rcpt[i]?.code !== 250)
      counts.push(left.length)
      const refused = rcpt.filter(({ code }) => code !== 250).map(({ line }) => line)
      for (const line of refused) assert.match(line, /^452 4\.5\.3 Too many recipients/)
      if (counts.length > 3) break
    }
    await client.quit()
    assert.deepEqual(counts, [130, 30, 0])
    await until(
      () => !gateway.outboundMessages().some(({ domain }) => domain === 'lmtp.test'),
      () => gateway.log().slice(-3000),
    )
    assert.deepEqual([...lmtp.taken].sort(), all.sort())
  })

  it('has files in the outbound queue that each name their own recipients only', async () => {
    const client = await gateway.client()
    const to = ['a@old.test', ...domains.map((domain) => `b@${domain}`)]
    const { data } = await client.transaction('a@sender.test', to, MESSAGE)
    assert.equal(data?.code, 250)
    const files = gateway.outboundMessages().filter(isOfThese)
    assert.equal(files.length, 40)
    for (const { domain, notes } of files) {
      assert.deepEqual(notes.gal_relay, {
        routes: [[domain, { hops: [{ url: 'smtp://127.0.0.1:9' }] }]],
        written: domain === 'd0.test' ? [['a@d0.test', 'a@old.test']] : [],
        smtputf8: false,
      })
    }
    await client.quit()
  })

  test('an alias for more recipients than one transaction may have by lmtp:// is not deferred for ever', () => {
    const before = new AcceptedBefore()
    const hops = [{ protocol: 'lmtp', host: 'h', port: 24, text: 'lmtp://h' }] as const
    const one = { ...accepted('outbound'), hops }
    assert.equal(before.refusal(one, 'split'), undefined)
    for (let i = 0; i < LMTP_RECIPIENTS + 1; i++) before.add(one)
    assert.equal(before.refusal(one, 'split')?.rule, 'too-many-by-lmtp')
    assert.equal(before.refusal(accepted('outbound'), 'split'), undefined)
  })
})

test('a bounce names many recipients as they were written', () => {
  const recipients = ['"a> b"@new.test', 'c@new.test', 'd@new.test'].map(queued)
  const item = {
    todo: {
      mail_from: queued('sender@old.test'),
      rcpt_to: recipients,
      notes: {
        gal_relay: {
          routes: [],
          written: [
            ['"a> b"@new.test', '"a> b"@old.test'],
            ['c@new.test', 'd@old.test'],
          ],
        },
      },
    },
  } as unknown as Haraka.QueueItem
  const error = new Error(
    `failed: ${recipients.map((one) => one.format()).join(', ')}; <c@new.test> `,
  )
  nameAsWritten(item, error as Haraka.BounceError)
  assert.equal(
    error.message,
    'failed: <"a> b"@old.test>, <d@old.test>, <d@new.test>; <d@old.test> ',
  )
})

describe('a recipient costs the same, however many precede it', () => {
  /** An array that counts how often its elements are read, by its own methods too. */
  function counted<T extends object>(array: T): { array: T; reads: () => number } {
    let reads = 0
    const get = (target: T, key: string | symbol, receiver: unknown) => {
      if (typeof key === 'string' && /^\d+$/.test(key)) reads++
      return Reflect.get(target, key, receiver)
    }
    return { array: new Proxy(array, { get }), reads: () => reads }
  }

  test('answered', () => {
    const readsFor = (count: number) => {
      const { array, reads } = counted<Haraka.Address[]>([])
      const rcpt_count = { accept: 0, tempfail: 0, reject: 0 }
      const transaction = { rcpt_to: array, rcpt_count } as unknown as Haraka.Transaction
      const delivery = new Delivery()
      for (let i = 0; i < count; i++) {
        const address = {
          user: `u${i}`,
          host: 'in.test',
          address: `u${i}@in.test`,
        } as Haraka.Address
        array.push(address)
        beginRcpt(delivery, transaction, address, true)
        const [target = address] = targetsOf(delivery, transaction)
        const verdict = accepted('queue')
        assert.equal(delivery.before.refusal(verdict, 'defer'), undefined)
        acceptRecipient(delivery, transaction, target, DESTINATION, verdict, NONE)
        // Another plugin refuses every third one.
        if (i % 3 === 0) {
          array.pop()
          rcpt_count.reject++
        } else rcpt_count.accept++
      }
      endRcpts(delivery, transaction)
      assert.equal(array.length, count - Math.ceil(count / 3))
      return reads()
    }
    assert.ok(readsFor(300) > 0)
    assert.equal(readsFor(3000), 10 * readsFor(300))
  })

  test('with mixed = defer only recipients that Haraka accepted count', () => {
    const rcpt_to: Haraka.Address[] = []
    const rcpt_count = { accept: 0, tempfail: 0, reject: 0 }
    const transaction = { rcpt_to, rcpt_count } as unknown as Haraka.Transaction
    const delivery = new Delivery()
    const rule = (path: 'queue' | 'outbound', answer: 'accept' | 'reject') => {
      const address = { user: path } as Haraka.Address
      rcpt_to.push(address)
      beginRcpt(delivery, transaction, address, true)
      const refused = delivery.before.refusal(accepted(path), 'defer')
      if (!refused) {
        acceptRecipient(delivery, transaction, address, DESTINATION, accepted(path), NONE)
      }
      if (refused || answer === 'reject') rcpt_to.pop()
      rcpt_count[refused ? 'tempfail' : answer]++
      return refused?.rule
    }
    assert.equal(rule('outbound', 'reject'), undefined)
    assert.equal(rule('queue', 'accept'), undefined)
    assert.equal(rule('outbound', 'accept'), 'mixed')
    assert.equal(rule('queue', 'accept'), undefined)
    assert.equal(rcpt_to.length, 2)
  })

  test('observed', async () => {
    const readsFor = async (count: number) => {
      const { array, reads } = counted<Haraka.RecipientResult[]>([])
      const observed = new ObservedTransaction()
      const verdict = accepted('queue')
      const all = Array.from({ length: count }, (_, i) => {
        observed.answered(array)
        const one = observed.add(array.length, () => ({ verdict, accepted: [verdict] }))
        array.push({ address: `u${i}@in.test`, action: i % 2 === 0 ? 'accept' : 'reject' })
        return one
      })
      observed.answered(array)
      observed.end()
      const outcomes = (await Promise.all(all)).map(({ given }) => given?.outcome)
      assert.equal(outcomes.filter((outcome) => outcome === 'refused').length, count / 2)
      return reads()
    }
    assert.ok((await readsFor(300)) > 0)
    assert.equal(await readsFor(3000), 10 * (await readsFor(300)))
  })
})

const queued = (path: string) => new Address(`<${path}>`) as unknown as Haraka.QueuedAddress
