// Settings are read again while mail is answered: no step of it takes longer for a longer list, and the
// event loop turns between slices.
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { readIniSteps } from '../../plugins/gal-relay/settings/ini'
import { SettingsError } from '../../plugins/gal-relay/settings/problem'
import { readSettingsSteps, type Settings } from '../../plugins/gal-relay/settings/settings'
import { inSlices, type Steps } from '../../plugins/gal-relay/settings/steps'

const LDAP = '[ldap]\nurl[] = ldap://dc.test\nbase = dc=test\n'
/** Values of one list that may be read in one step. */
const AT_A_TIME = 50

const lines = (count: number, line: (i: number) => string) =>
  Array.from({ length: count }, (_, i) => `${line(i)}\n`).join('')

function* settingsOf(text: string): Steps<Settings> {
  return yield* readSettingsSteps(yield* readIniSteps('gal_relay.ini', text), new Set(), '/')
}

function stepsOf(steps: Steps<unknown>): number {
  for (let count = 1; ; count++) {
    try {
      if (steps.next().done) return count
    } catch (error) {
      assert.ok(error instanceof SettingsError)
      return count
    }
  }
}

/** Blocks for milliseconds in each step, and asks for one more turn of the event loop. */
function* slow(count: number, turns: () => void): Steps<string> {
  for (let i = 0; i < count; i++) {
    setImmediate(turns)
    const end = performance.now() + 10
    while (performance.now() < end);
    yield
  }
  return 'done'
}

describe('settings that are read in steps', () => {
  const rows = (count: number, to = 'inbound') => lines(count, (i) => `d${i}.test = ${to}`)
  const hosts = (count: number) => lines(count, (i) => `hosts[] = 10.0.${i >> 8}.${i & 255}`)
  for (const [what, text, work] of [
    ['rows', `${LDAP}[routes]\n${rows(2000)}`, 2 * 2000],
    ['wrong rows', `${LDAP}[routes]\n${rows(2000, 'inbund')}`, 2 * 2000],
    ['networks', `${LDAP}[restrictions]\n${hosts(2000)}`, 2000 + 2000 / AT_A_TIME],
    ['keys', `${LDAP}[gal]\n${lines(2000, (i) => `key${i} = x`)}`, 2 * 2000],
    ['sections', `${LDAP}${lines(2000, (i) => `[section${i}]`)}`, 2 * 2000],
    ['listeners', `${LDAP}${lines(2000, (i) => `[listener 10.0.0.1:${i + 1}]`)}`, 2 * 2000],
    ['comments', `${LDAP}${lines(2000, (i) => `; ${i}`)}`, 2000],
  ] as const) {
    it(`have a step for each of their ${what}`, () => {
      assert.ok(stepsOf(settingsOf(text)) >= work)
    })
  }

  it('are what they are when they are read at once, long lists too', async () => {
    const text = `${LDAP}[gal]\n${lines(120, (i) => `attributes[] = a${i}`)}[restrictions]\n${hosts(120)}`
    const settings = await inSlices(settingsOf(text), () => true)
    assert.equal(settings?.directories.all[0]?.gal.attributes.at(-1), 'a119')
    assert.equal(
      settings?.policies.get('*:*')?.restrictions.hosts.entries.at(-1)?.text,
      '10.0.0.119',
    )
  })

  it('report a problem far down a list, and one of a whole list once', () => {
    const wrong = lines(120, (i) => (i === 110 ? 'hosts[] = here' : `hosts[] = 10.0.0.${i}`))
    const switches = lines(120, () => 'open[] = true')
    const steps = settingsOf(`${LDAP}[restrictions]\n${wrong}${switches}`)
    assert.throws(
      () => {
        while (!steps.next().done);
      },
      (error) => {
        assert.ok(error instanceof SettingsError)
        const said = error.problems.map(({ line, key, value }) => [line, key, value?.slice(0, 4)])
        assert.deepEqual(said.toSorted(), [
          [115, 'hosts[]', 'here'],
          [125, 'open[]', 'true'],
        ])
        return true
      },
    )
  })

  it('follow a long chain of rows no further than can be read', () => {
    const chain = lines(2000, (i) => `d${i}.test = reroute d${i + 1}.test`)
    const steps = settingsOf(`${LDAP}[routes]\n${chain}`)
    assert.throws(() => {
      while (!steps.next().done);
    }, /d0\.test → d1\.test → [^;]{100,400} → …; a domain is rerouted once/)
  })

  it('let the event loop turn between slices', async () => {
    let turns = 0
    const turnsBefore: number[] = []
    const turned = () => turns++
    function* watched(): Steps<void> {
      for (let i = 0; i < 5; i++) {
        turnsBefore.push(turns)
        yield* slow(1, turned)
        yield
      }
    }
    await inSlices(watched(), () => true)
    assert.deepEqual(turnsBefore, [0, 1, 2, 3, 4])
  })

  it('are given up when they are not wanted any more', async () => {
    let slices = 0
    const outcome = await inSlices(
      slow(1000, () => {}),
      () => ++slices < 3,
    )
    assert.equal(outcome, undefined)
    assert.equal(slices, 3)
  })
})
