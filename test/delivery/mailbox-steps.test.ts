// Where an attempt goes for a mailbox, from today's settings, what the directory says, and what was noted.
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { answersFor, nextStep } from '../../plugins/gal-relay/delivery/mailboxes'
import { type NotedMailbox, notedRoute } from '../../plugins/gal-relay/delivery/queue-note'
import type { GalAnswer } from '../../plugins/gal-relay/gal/address-list'
import type { Mailbox } from '../../plugins/gal-relay/routing/mailbox'
import { addressText, recipientOf } from '../../plugins/gal-relay/routing/recipient'
import { parseNextHop } from '../../plugins/gal-relay/routing/routes'
import { readIni } from '../../plugins/gal-relay/settings/ini'
import { readSettings, type Settings } from '../../plugins/gal-relay/settings/settings'

const LISTENERS = [{ host: '10.0.0.5', port: 25 }]

type Sections = Readonly<Record<string, Readonly<Record<string, string>>>>

function settingsOf(more: Sections): Settings {
  const ini = readIni('gal_relay.ini', {
    main: {},
    routes: {
      'a.test': 'inbound',
      'cloud.test': 'forward smtp://cloud',
      'backup.test': 'always-relay',
    },
    hosts: { new: 'smtp://new', here: 'local', secret: 'smtp://u:p@secret' },
    gal: { host_attribute: 'mailHost', routing_attribute: 'mailRoutingAddress' },
    ldap: { url: 'ldap://127.0.0.1', base: 'dc=a' },
    ...more,
  })
  return readSettings(ini, [], '/', undefined, ['rcpt_to.in_host_list'])
}

const found = (mailbox?: Mailbox): GalAnswer => ({
  state: 'found',
  authenticatedOnly: true,
  ...(mailbox && { mailbox }),
})
const ABSENT: GalAnswer = { state: 'absent' }
const UNAVAILABLE: GalAnswer = { state: 'unavailable', reason: 'down' }

interface Noted {
  readonly leaving?: string
  readonly hops?: readonly string[]
  readonly byHost?: true
  readonly backup?: boolean
  readonly others?: readonly string[]
}

/** @param answers about `ann@a.test`, and then about the others */
function step(answers: readonly GalAnswer[], noted: Noted = {}, sections: Sections = {}): string {
  const {
    leaving = 'ann@a.test',
    hops = ['smtp://old'],
    byHost,
    backup = false,
    others = [],
  } = noted
  const asked = ['ann@a.test', ...others]
  const mailboxes = asked.map(
    (one): NotedMailbox => ({ leaving, asked: one, ...(byHost && { byHost }) }),
  )
  const parsed = hops.map(parseNextHop).flatMap((hop) => ('problem' in hop ? [] : [hop]))
  const [local = '', domain = ''] = leaving.split('@')
  const { attempt, mailbox, problem } = nextStep(
    settingsOf(sections),
    recipientOf(local, domain),
    notedRoute(parsed, backup),
    mailboxes,
    new Map(asked.map((one, i) => [one, answers[i] ?? UNAVAILABLE])),
    LISTENERS,
  )
  const to =
    attempt.to === 'hops'
      ? attempt.hops.map(({ text, user = '' }) => [text, user].filter(Boolean).join(' ')).join(', ')
      : attempt.to === 'nowhere-now'
        ? attempt.reason
        : attempt.to
  return [to, mailbox && `as ${addressText(mailbox.leavesAs)}`, problem].filter(Boolean).join(' ')
}

const BY_HOST = { byHost: true } as const
const IN_CLOUD = { leaving: 'x@cloud.test', hops: ['smtp://cloud'] } as const
const OBSERVED = { main: { enforce: 'false' } }
const ROW = { routes: { 'a.test': 'inbound smtp://row' } }

describe('an attempt for a mailbox goes', () => {
  const cases: readonly (readonly [what: string, goes: string, ...Parameters<typeof step>])[] = [
    ['to its server of today', 'smtp://new:25 as ann@a.test', [found({ host: 'NEW' })], BY_HOST],
    [
      'by its routing address of today',
      'smtp://cloud:25 as b@cloud.test',
      [found({ address: 'b@cloud.test' })],
      BY_HOST,
    ],
    [
      'to the hosts before us for a routing address that we are a backup for',
      'mx-before-us as b@backup.test',
      [found({ address: 'b@backup.test' })],
    ],
    ['to MX hosts for one of strangers', 'mx as b@far.test', [found({ address: 'b@far.test' })]],
    [
      'to ourselves for the queue plugins',
      'smtp://10.0.0.5:25 as ann@a.test',
      [found({ host: 'here' })],
    ],
    [
      'to ourselves when no attribute is left of a server',
      'smtp://10.0.0.5:25 as ann@a.test',
      [found()],
      BY_HOST,
    ],
    ['and of a cloud', 'smtp://10.0.0.5:25 as ann@a.test', [found()], IN_CLOUD],
    [
      'to the row’s host when nothing is said any more',
      'smtp://row:25 as ann@a.test',
      [found()],
      BY_HOST,
      ROW,
    ],
    ['to the row’s host where nothing ever was', 'smtp://row:25', [found()], {}, ROW],
    ['where it went when it is absent', 'smtp://old:25', [ABSENT], BY_HOST, ROW],
    ['and when it cannot be asked', 'smtp://old:25', [UNAVAILABLE], BY_HOST, ROW],
    ['by its row then, if that sent it there', 'smtp://row:25', [UNAVAILABLE], {}, ROW],
    [
      'where it went when nothing is clear',
      'smtp://old:25 its entries contradict each other',
      [found({ isAmbiguous: true })],
      BY_HOST,
    ],
    [
      'where it went when the rows count for nothing',
      'smtp://old:25',
      [found({ host: 'new' })],
      BY_HOST,
      OBSERVED,
    ],
    [
      'where it went when its domain is no longer ours',
      'smtp://old:25',
      [found({ host: 'new' })],
      BY_HOST,
      { routes: { 'b.test': 'inbound' } },
    ],
    [
      'where it went when no listener takes it for the queue plugins',
      'smtp://old:25',
      [found({ host: 'here' })],
      BY_HOST,
      { 'listener *:25': { enabled: 'false' }, routes: { 'a.test': 'inbound' } },
    ],
    [
      'where it went, with the password of [hosts]',
      'smtp://secret:25 u',
      [UNAVAILABLE],
      { ...BY_HOST, hops: ['smtp://u:x@secret'] },
    ],
    [
      'where all that share an address go',
      'smtp://new:25 as b@cloud.test',
      [
        found({ host: 'new', address: 'b@cloud.test' }),
        found({ host: 'new', address: 'b@cloud.test' }),
      ],
      { ...IN_CLOUD, others: ['bob@a.test'] },
    ],
    [
      'where they went when one of them has left',
      'smtp://cloud:25',
      [found({ host: 'new', address: 'b@cloud.test' }), found({ address: 'x@cloud.test' })],
      { ...IN_CLOUD, others: ['bob@a.test'] },
    ],
    [
      'to the hosts before us, while nothing is known',
      'mx-before-us',
      [UNAVAILABLE],
      { leaving: 'b@gone.test', hops: [], backup: true },
    ],
  ]
  for (const [what, goes, ...args] of cases) {
    it(`${what}: ${goes}`, () => assert.equal(step(...args), goes))
  }
})

describe('the directory', () => {
  const mailboxes = (count: number, domain: string) =>
    Array.from({ length: count }, (_, i): NotedMailbox => {
      const address = `r${i}@${domain}`
      return { leaving: address, asked: address }
    })

  it('is asked about a few at a time, and once about each', async () => {
    let underWay = 0
    let most = 0
    const asked: string[] = []
    const all = mailboxes(100, 'a.test')
    const answers = await answersFor([...all, ...all], async (recipient) => {
      asked.push(addressText(recipient))
      most = Math.max(most, ++underWay)
      await sleep(1)
      underWay--
      return ABSENT
    })
    assert.equal(answers.size, 100)
    assert.deepEqual(
      asked,
      all.map((one) => one.asked),
    )
    assert.ok(most > 1 && most <= 10, `${most}`)
  })

  it('that does not answer is left alone, and another one is not', async () => {
    const asked = new Map<string, number>()
    const answers = await answersFor(
      [...mailboxes(1000, 'down.test'), ...mailboxes(50, 'a.test')],
      async ({ domain }) => {
        asked.set(domain, (asked.get(domain) ?? 0) + 1)
        await sleep(1)
        return domain === 'down.test' ? UNAVAILABLE : ABSENT
      },
    )
    assert.equal(answers.get('r999@down.test'), UNAVAILABLE)
    assert.equal(asked.get('a.test'), 50)
    assert.ok((asked.get('down.test') ?? 0) <= 10)
  })
})
