// The counting of harvest defence alone, with a clock of the test's own, beside a model of what it is to do.
import assert from 'node:assert/strict'
import { describe, mock, test } from 'node:test'
import fc from 'fast-check'
import { Counters } from '../../plugins/gal-relay/harvest/counters'
import { delayOf, HarvestDefence, networkNamed } from '../../plugins/gal-relay/harvest/defence'
import { type HoldEvent, Holds, readHoldEvent } from '../../plugins/gal-relay/harvest/holds'
import { ownLimiter } from '../../plugins/gal-relay/harvest/limiters'
import { networkOf } from '../../plugins/gal-relay/harvest/network'
import { networkList, parseIp, parseNetwork } from '../../plugins/gal-relay/routing/networks'
import { readIni } from '../../plugins/gal-relay/settings/ini'
import type { HarvestSettings } from '../../plugins/gal-relay/settings/settings'
import { readSettings } from '../../plugins/gal-relay/settings/settings'

const MINUTE = 60_000

/** As they are without any key. */
const DEFAULTS: HarvestSettings = readSettings(
  readIni('gal_relay.ini', '[ldap]\nurl[] = ldap://a.test\nbase = dc=a\n'),
  [],
  '/',
).harvest

function defenceWith(limits: Partial<HarvestSettings> = {}) {
  const told: HoldEvent[] = []
  const lines: string[] = []
  const line = (text: string) => void lines.push(text)
  const log = { debug: line, info: line, notice: line, warn: line, error: line }
  const settings = { ...DEFAULTS, ...limits }
  const limiter = ownLimiter(settings.window)
  const asked = { times: 0 }
  const counting = Object.create(limiter, {
    penalty: {
      value: (key: string, points: number) => {
        asked.times++
        return limiter.penalty(key, points)
      },
    },
  })
  const tell = (event: HoldEvent) => void told.push(event)
  const counters = new Counters(counting)
  const defence = new HarvestDefence(settings, counters, new Holds(), 'mx.test', log, tell)
  return { defence, told, lines, asked }
}

/** The clock is stopped but for `tick`. */
async function onOwnClock(run: (tick: (milliseconds: number) => void) => Promise<void>) {
  mock.timers.enable({ apis: ['Date', 'setTimeout'], now: 1_800_000_000_000 })
  try {
    await run((milliseconds) => mock.timers.tick(milliseconds))
  } finally {
    mock.timers.reset()
  }
}

const counted = (defence: HarvestDefence, ip: string) => {
  const found = defence.counted(parseIp(ip), false)
  assert.ok(found)
  return found
}

describe('the network that a client is counted as', () => {
  const network = (ip: string, ipv4 = 32, ipv6 = 64) => {
    const parsed = parseIp(ip)
    assert.ok(parsed)
    return networkOf(parsed, { ipv4, ipv6 })
  }

  test('is its address, or the first bits of it', () => {
    assert.equal(network('203.0.113.9'), '203.0.113.9')
    assert.equal(network('203.0.113.9', 24), '203.0.113.0/24')
    assert.equal(network('255.255.255.255', 8), '255.0.0.0/8')
    assert.equal(network('2001:db8:1:2:3:4:5:6'), '2001:db8:1:2::/64')
    assert.equal(network('2001:db8:1:2:3:4:5:6', 32, 128), '2001:db8:1:2:3:4:5:6')
    assert.equal(network('2001:db8:1fff::1', 32, 36), '2001:db8:1000::/36')
    assert.equal(network('::ffff:203.0.113.9', 24), '203.0.113.0/24')
  })

  test('is found by any address in it, and by its name', () => {
    const bits = { ipv4: 24, ipv6: 64 }
    for (const name of ['203.0.113.0/24', '203.0.113.77']) {
      assert.equal(networkNamed(name, bits), '203.0.113.0/24')
    }
    assert.equal(networkNamed('2001:db8:1:2::77', bits), '2001:db8:1:2::/64')
    for (const none of ['203.0.113.0/8', 'mx.test', '', '203.0.113.0/x']) {
      assert.equal(networkNamed(none, bits), undefined, none)
    }
  })
})

describe('the delay of an unknown recipient', () => {
  test('begins beyond a third of the limit, and grows to its most at the limit', () => {
    const delays = Array.from({ length: 32 }, (_, i) => delayOf(i + 1, DEFAULTS))
    assert.deepEqual(delays.slice(0, 10), Array(10).fill(0))
    assert.deepEqual(delays.slice(10, 13), [250, 500, 750])
    assert.deepEqual(delays.slice(29), [5000, 5000, 5000])
    assert.deepEqual(
      [...delays].sort((a, b) => a - b),
      delays,
    )
    assert.equal(delayOf(11, { unknown_limit: 30, slow_down: { least: 1000, most: 1000 } }), 1000)
  })

  test('is waited for by so many at a time, and by no more', async () => {
    await onOwnClock(async (tick) => {
      const { defence } = defenceWith()
      let waiting = 0
      const wait = async () => {
        waiting++
        await defence.delay(5000)
        waiting--
      }
      const all = Array.from({ length: 5000 }, wait)
      await Promise.resolve()
      await new Promise((resolve) => setImmediate(resolve))
      assert.equal(waiting, 1000)
      tick(5000)
      await Promise.all(all)
      assert.equal(defence.report().counted.slowed, 1000)
    })
  })
})

describe('harvest defence', () => {
  test('never holds off a provider of whose recipients 5 % are unknown', async () => {
    await onOwnClock(async (tick) => {
      const { defence, told } = defenceWith()
      const provider = counted(defence, '192.0.2.10')
      for (let i = 0; i < 10_000; i++) {
        if (i % 20 === 7) await defence.unknown(provider)
        else defence.other(provider)
        if (i % 50 === 0) tick(1000)
        assert.equal(defence.isHeldOff(provider, 'rcpt'), false)
      }
      assert.deepEqual(told, [])
    })
  })

  test('never does so while the shared counter comes and goes', async () => {
    await onOwnClock(async (tick) => {
      const shared = ownLimiter(DEFAULTS.window)
      let isAway = false
      const counters = new Counters(ownLimiter(DEFAULTS.window), {
        isLocal: false,
        run: async (work) => {
          if (isAway) throw new Error('away')
          return work(shared)
        },
      })
      const log = { debug() {}, info() {}, notice() {}, warn() {}, error() {} }
      const defence = new HarvestDefence(DEFAULTS, counters, new Holds(), '', log, () => {})
      const provider = counted(defence, '192.0.2.10')
      // Runs of valid recipients, then of as many unknown ones as of them.
      for (let i = 0; i < 4000; i++) {
        if (i % 7 === 0) isAway = !isAway
        if (i % 40 < 20) defence.other(provider)
        else await defence.unknown(provider)
        if (i % 20 === 0) tick(1000)
        assert.equal(defence.isHeldOff(provider, 'rcpt'), false, String(i))
      }
      isAway = false
      const harvester = counted(defence, '203.0.113.9')
      for (let i = 0; i < 40; i++) {
        isAway = i % 2 === 0
        await defence.unknown(harvester)
      }
      assert.ok(defence.isHeldOff(harvester, 'rcpt'))
    })
  })

  test('knows who is held off until the time has passed, and begins anew then', async () => {
    await onOwnClock(async (tick) => {
      const { defence, told, lines } = defenceWith()
      const client = counted(defence, '203.0.113.9')
      for (let i = 0; i < 30; i++) await defence.unknown(client)
      assert.equal(told.length, 1)
      assert.deepEqual(lines, [
        'held off: 203.0.113.9 for 30m: 30 of 30 recipients within 10m were unknown',
      ])
      assert.equal(await defence.unknown(client), 'held off')
      tick(30 * MINUTE - 1)
      assert.ok(defence.isHeldOff(client, 'connect'))
      tick(1)
      assert.ok(!defence.isHeldOff(client, 'connect'))
      assert.equal(await defence.unknown(client), 0)
      assert.deepEqual(defence.report().deferred, { connect: 1, rcpt: 0 })
    })
  })

  test('counts nobody who is exempt, and those it only observes apart', async () => {
    const entry = parseNetwork('198.51.100.0/24')
    assert.ok('net' in entry)
    const { defence, told } = defenceWith({ exempt: networkList([entry]) })
    assert.equal(defence.counted(parseIp('198.51.100.7'), false), undefined)
    const observed = defence.counted(parseIp('203.0.113.9'), true)
    assert.ok(observed)
    for (let i = 0; i < 40; i++) assert.equal(await defence.unknown(observed), 0)
    assert.equal(told.length, 1)
    assert.ok(!defence.isHeldOff(observed, 'rcpt'))
    assert.ok(!defence.isHeldOff(counted(defence, '203.0.113.9'), 'rcpt'))
  })

  test('keeps counts of so many networks, and no more', async () => {
    const limiter = ownLimiter(DEFAULTS.window)
    let dropped = 0
    const counting = Object.create(limiter, {
      delete: {
        value: (key: string) => {
          dropped++
          return limiter.delete(key)
        },
      },
    })
    const log = { debug() {}, info() {}, notice() {}, warn() {}, error() {} }
    const holds = new Holds()
    const defence = new HarvestDefence(DEFAULTS, new Counters(counting), holds, '', log, () => {})
    for (let i = 0; i < 25_000; i++) {
      await defence.unknown(counted(defence, `10.${i >> 16}.${(i >> 8) & 255}.${i & 255}`))
    }
    assert.equal(dropped, 5000)
  })

  // Most of them are counted without asking the counter: that must not show.
  test('holds a busy client off with the very recipient that makes a harvest of it', async () => {
    const limits = { unknown_limit: 5, unknown_share: 0.6, window: 60 * MINUTE }
    const phase = fc.record({
      count: fc.oneof(
        { weight: 12, arbitrary: fc.integer({ min: 1, max: 1500 }) },
        { weight: 1, arbitrary: fc.constant(6000) },
      ),
      // One in so many is unknown, or all.
      every: fc.constantFrom(1, 1, 2, 3, 20, 1000),
      tick: fc.constantFrom(0, 0, 1000, 59 * MINUTE),
    })
    const ran = { unknown: 0, holds: 0, asked: 0 }
    await fc.assert(
      fc.asyncProperty(fc.array(phase, { minLength: 3, maxLength: 8 }), async (phases) => {
        await onOwnClock(async (tick) => {
          const { defence, asked } = defenceWith(limits)
          const client = counted(defence, '203.0.113.9')
          const model = new Window(limits.window)
          const name = async (isUnknown: boolean) => {
            if (!isUnknown) {
              defence.other(client)
              model.other(Date.now())
              return false
            }
            ran.unknown++
            await defence.unknown(client)
            const { unknown, sum } = model.unknown(Date.now())
            const isHarvest = unknown >= 5 && unknown * 100 >= 60 * sum
            assert.equal(defence.isHeldOff(client, 'rcpt'), isHarvest, `${unknown} of ${sum}`)
            return isHarvest
          }
          let isHeld = false
          for (const { count, every, tick: passes } of phases) {
            for (let i = 0; i < count && !isHeld; i++) isHeld = await name(i % every === 0)
            tick(passes)
          }
          if (isHeld) ran.holds++
          ran.asked += asked.times
        })
      }),
      { numRuns: 200 },
    )
    assert.ok(ran.holds > 20, JSON.stringify(ran))
    assert.ok(ran.asked < ran.unknown / 2, JSON.stringify(ran))
  })

  test('is as a model has it that knows every recipient', async () => {
    const step = fc.oneof(
      { weight: 12, arbitrary: fc.record({ client: fc.nat(2), kind: fc.constant('unknown') }) },
      { weight: 3, arbitrary: fc.record({ client: fc.nat(2), kind: fc.constant('other') }) },
      { weight: 1, arbitrary: fc.record({ client: fc.nat(2), kind: fc.constant('release') }) },
      {
        weight: 1,
        arbitrary: fc.record({
          client: fc.integer({ min: 1, max: 400_000 }),
          kind: fc.constant('tick'),
        }),
      },
    )
    const limits = {
      unknown_limit: 5,
      unknown_share: 0.6,
      window: 5 * MINUTE,
      hold_off: 7 * MINUTE,
    }
    let holds = 0
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 60, maxLength: 200 }), async (steps) => {
        await onOwnClock(async (tick) => {
          const { defence } = defenceWith(limits)
          const model = new Model(limits)
          for (const { client: number, kind } of steps) {
            if (kind === 'tick') {
              tick(number)
              continue
            }
            const client = counted(defence, `203.0.113.${number}`)
            const isHeld = model.isHeld(number, Date.now())
            assert.equal(defence.isHeldOff(client, 'rcpt'), isHeld)
            if (kind === 'release') {
              await defence.take({ event: 'release', network: client.network }, Date.now())
              model.release(number)
            } else if (isHeld) {
              continue
            } else if (kind === 'other') {
              defence.other(client)
              model.other(number, Date.now())
            } else {
              await defence.unknown(client)
              model.unknown(number, Date.now())
            }
            assert.equal(defence.isHeldOff(client, 'rcpt'), model.isHeld(number, Date.now()))
          }
          holds += model.holds
        })
      }),
      { numRuns: 300 },
    )
    assert.ok(holds > 100, String(holds))
  })
})

/** The count of one client: see {@link Model}, whose windows it has. */
class Window {
  readonly #length: number
  #begun = Number.NEGATIVE_INFINITY
  #unknown = 0
  #sum = 0
  #others = 0
  #othersSince = 0

  constructor(length: number) {
    this.#length = length
  }

  other(now: number): void {
    if (this.#others > 0 && now - this.#othersSince > this.#length) this.#others = 0
    if (this.#others === 0) this.#othersSince = now
    // So many are handed on without an unknown one.
    const isOver = now - this.#begun >= this.#length
    const most = 50 * Math.max(1, isOver ? 0 : Math.floor(this.#sum / 5000))
    if (++this.#others >= most) this.#add(0, now)
  }

  unknown(now: number): { unknown: number; sum: number } {
    if (this.#others > 0 && now - this.#othersSince > this.#length) this.#others = 0
    this.#add(1, now)
    return { unknown: this.#unknown, sum: this.#sum }
  }

  #add(unknown: number, now: number): void {
    if (now - this.#begun >= this.#length) {
      this.#begun = now
      this.#unknown = 0
      this.#sum = 0
    }
    this.#unknown += unknown
    this.#sum += this.#others + unknown
    this.#others = 0
  }
}

/**
 * Every recipient with its time. A window begins with the first unknown recipient after the one before; the
 * others are in it that came in the same time before their unknown one.
 */
class Model {
  readonly #limits
  readonly #all = new Map<number, { at: number; isUnknown: boolean }[]>()
  readonly #held = new Map<number, number>()
  holds = 0

  constructor(limits: {
    unknown_limit: number
    unknown_share: number
    window: number
    hold_off: number
  }) {
    this.#limits = limits
  }

  isHeld(client: number, now: number): boolean {
    return (this.#held.get(client) ?? 0) > now
  }

  other(client: number, at: number): void {
    this.#of(client).push({ at, isUnknown: false })
  }

  unknown(client: number, at: number): void {
    const { unknown_limit, unknown_share, window, hold_off } = this.#limits
    const all = this.#of(client)
    all.push({ at, isUnknown: true })
    let begun = Number.NEGATIVE_INFINITY
    let unknown = 0
    let sum = 0
    let others: number[] = []
    for (const one of all) {
      if (!one.isUnknown) {
        if (others[0] !== undefined && one.at - others[0] > window) others = []
        others.push(one.at)
        continue
      }
      if (one.at - begun >= window) {
        begun = one.at
        unknown = 0
        sum = 0
      }
      if (others[0] !== undefined && one.at - others[0] > window) others = []
      unknown++
      sum += others.length + 1
      others = []
    }
    if (unknown < unknown_limit || unknown / sum < unknown_share) return
    this.holds++
    this.#held.set(client, at + hold_off)
    all.length = 0
  }

  release(client: number): void {
    this.#held.delete(client)
    this.#of(client).length = 0
  }

  #of(client: number): { at: number; isUnknown: boolean }[] {
    const known = this.#all.get(client) ?? []
    this.#all.set(client, known)
    return known
  }
}

describe('what processes tell each other', () => {
  test('is read only where it is whole', () => {
    const hold = {
      ...{ network: '203.0.113.9', observed: false, since: 1, until: 2 },
      ...{ unknown: 3, all: 4, server: 'mx' },
    }
    assert.deepEqual(readHoldEvent({ event: 'hold', hold }), { event: 'hold', hold })
    const wrong = [
      ...[undefined, null, 'hold', {}, { event: 'hold' }, { event: 'release', network: 7 }],
      { event: 'hold', hold: { ...hold, until: 'never' } },
      { event: 'hold', hold: { ...hold, network: '<script>' } },
      { event: 'release', network: 'all' },
    ]
    for (const one of wrong) assert.equal(readHoldEvent(one), undefined, JSON.stringify(one))
  })
})
