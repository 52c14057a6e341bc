// Where mail goes, as the list in memory has it: whatever entries say and however they change, it is what
// the entries say together, in the list as it is written, as it is read, and as it is followed.
import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { listDefinition } from '../../../plugins/gal-relay/gal/directory/list-definition'
import { mailboxOf } from '../../../plugins/gal-relay/gal/mailbox-values'
import { Hasher } from '../../../plugins/gal-relay/gal/snapshot/address-hash'
import {
  type AddressTable,
  IN_LIST,
  IN_LIST_AUTHENTICATED_ONLY,
  NOT_IN_LIST,
} from '../../../plugins/gal-relay/gal/snapshot/address-table'
import { piecesOf } from '../../../plugins/gal-relay/gal/snapshot/batches'
import { applyBatch, SnapshotReader } from '../../../plugins/gal-relay/gal/snapshot/file'
import {
  BATCH_BYTES_MOST,
  encodeBatch,
  UnusableFile,
} from '../../../plugins/gal-relay/gal/snapshot/file-format'
import { fingerprintOf } from '../../../plugins/gal-relay/gal/snapshot/fingerprint'
import { Follower } from '../../../plugins/gal-relay/gal/snapshot/follower'
import { readListInForce } from '../../../plugins/gal-relay/gal/snapshot/in-force'
import { Keeper } from '../../../plugins/gal-relay/gal/snapshot/keeper'
import {
  type ListedMailboxes,
  UNREADABLE,
} from '../../../plugins/gal-relay/gal/snapshot/listed-mailboxes'
import { SEALED } from '../../../plugins/gal-relay/gal/snapshot/mailbox-numbers'
import { seal, unseal } from '../../../plugins/gal-relay/gal/snapshot/sealed-mailbox'
import type { Entry } from '../../../plugins/gal-relay/ldap/entry'
import type { Mailbox } from '../../../plugins/gal-relay/routing/mailbox'
import { recipientOf } from '../../../plugins/gal-relay/routing/recipient'
import { until } from '../../support/until'
import { GAL, LDAP, recordedLog, SNAPSHOT } from '../lists'

const ROUTED = { ...GAL, host_attribute: 'mailHost', routing_attribute: 'mailRoutingAddress' }
const LIST = listDefinition(ROUTED, LDAP)
const FLAG = 'msExchRequireAuthToSendTo'

interface Person {
  readonly id: number
  readonly addresses: readonly number[]
  readonly flagged: boolean
  readonly hosts: readonly string[]
  readonly routing: readonly string[]
}

const LONG_HOST = `/o=${'x'.repeat(300)}/cn=EX09`
const TOO_LONG = 'y'.repeat(1025)
const person = fc.record({
  id: fc.nat({ max: 6 }),
  addresses: fc.uniqueArray(fc.nat({ max: 6 }), { maxLength: 4 }),
  flagged: fc.boolean(),
  hosts: fc.oneof(
    { weight: 3, arbitrary: fc.constant([]) },
    { weight: 6, arbitrary: fc.constantFrom(['EX01'], ['ex01'], [' EX02 '], ['EX01', 'ex01']) },
    { weight: 2, arbitrary: fc.constantFrom(['EX01', 'EX02'], [LONG_HOST], [TOO_LONG], ['']) },
  ),
  routing: fc.oneof(
    { weight: 4, arbitrary: fc.constant([]) },
    {
      weight: 6,
      arbitrary: fc.constantFrom(
        ['SMTP:a@cloud.test'],
        ['a@cloud.test'],
        ['A@Cloud.test'],
        ['smtp:b@cloud.test'],
      ),
    },
    {
      weight: 2,
      arbitrary: fc.constantFrom(
        ['a@cloud.test', 'smtp:A@cloud.test'],
        ['a@cloud.test', 'b@cloud.test'],
        ['smtp:'],
        [TOO_LONG],
      ),
    },
  ),
})

const addressOf = (n: number) => `user${n}@corp.test`
const idOf = ({ id }: Person) => Buffer.from(`person ${id}`)

function entryOf({ id, addresses, flagged, hosts, routing }: Person): Entry {
  const values = (texts: readonly string[]) => texts.map((text) => Buffer.from(text))
  return {
    dn: `cn=${id}`,
    attributes: [
      { type: 'mail', values: values(addresses.map(addressOf)) },
      { type: 'mailHost', values: values(hosts) },
      { type: 'MAILROUTINGADDRESS', values: values(routing) },
      { type: FLAG, values: values([flagged ? 'TRUE' : 'FALSE']) },
    ],
  }
}

/** What several may say together, worked out in the plainest way. */
function expected(
  holders: readonly Person[],
): 'contradiction' | { host?: string; address?: string } {
  const said = holders.map(({ hosts, routing }) => {
    const own = [hosts, routing.map((text) => text.trim().replace(/^smtp:/i, ''))]
    // 'smtp:' alone is a value, and a blank one is none
    const [host, address] = own.map(
      (all, which) =>
        new Set(
          all
            .filter((_, i) => (which === 0 ? hosts : routing)[i]?.trim() !== '')
            .map((text) => text.trim().toLowerCase()),
        ),
    )
    return { host: [...(host ?? [])], address: [...(address ?? [])] }
  })
  const [first] = said
  const isClear = said.every(
    (one) =>
      one.host.length <= 1 &&
      one.address.length <= 1 &&
      one.host[0] === first?.host[0] &&
      one.address[0] === first?.address[0] &&
      ![...one.host, ...one.address].includes(TOO_LONG),
  )
  if (!isClear) return 'contradiction'
  return { host: first?.host[0], address: first?.address[0] }
}

function compared(mailbox: Mailbox | undefined | typeof UNREADABLE) {
  if (mailbox === UNREADABLE) return UNREADABLE
  if (mailbox?.isAmbiguous) return 'contradiction'
  return { host: mailbox?.host?.toLowerCase(), address: mailbox?.address?.toLowerCase() }
}

interface Listed {
  find(address: string): number
  mailbox(address: string): Mailbox | undefined | typeof UNREADABLE
}

function check(directory: ReadonlyMap<number, Person>, list: Listed, what: string): void {
  for (let n = 0; n <= 6; n++) {
    const address = addressOf(n)
    const holders = [...directory.values()].filter(({ addresses }) => addresses.includes(n))
    const flagged = holders.every((one) => one.flagged) ? IN_LIST_AUTHENTICATED_ONLY : IN_LIST
    assert.equal(list.find(address), holders.length === 0 ? NOT_IN_LIST : flagged, what)
    if (holders.length === 0) continue
    const mailbox = list.mailbox(address)
    assert.deepEqual(compared(mailbox), expected(holders), `${what}, ${address}`)
    const entries = holders.map(entryOf)
    assert.ok(LIST.mailbox)
    assert.deepEqual(compared(mailboxOf(entries, LIST.mailbox)), expected(holders), 'live')
    // As one of them spells it.
    if (mailbox === undefined || mailbox === UNREADABLE || mailbox.isAmbiguous) continue
    assert.ok(
      entries.some(({ attributes: [, hosts, addresses] }) => {
        const spelt = (values: readonly Buffer[] = [], value = '') =>
          value === '' ||
          values.some(
            (one) =>
              one
                .toString()
                .trim()
                .replace(/^smtp:/i, '') === value,
          )
        return spelt(hosts?.values, mailbox.host) && spelt(addresses?.values, mailbox.address)
      }),
      `${what}, ${JSON.stringify(mailbox)}`,
    )
  }
}

function listedIn(
  table: AddressTable,
  mailboxes: ListedMailboxes | undefined,
  key: Buffer,
): Listed {
  const hasher = new Hasher(key)
  return {
    find(address) {
      const { hi, lo } = hasher.address(address)
      return table.find(hi, lo)
    },
    mailbox(address) {
      const { hi, lo } = hasher.address(address)
      return mailboxes?.of(table, hi, lo, () => address)
    },
  }
}

async function inFolder(action: (file: string) => Promise<void>): Promise<void> {
  const folder = mkdtempSync(path.join(tmpdir(), 'mailboxes-'))
  try {
    await action(path.join(folder, 'list'))
  } finally {
    rmSync(folder, { recursive: true })
  }
}

const keeperOf = (file: string, list = LIST) =>
  new Keeper({
    list,
    snapshot: { ...SNAPSHOT, file, shrink_limit: 1 },
    before: undefined,
    force: true,
    log: recordedLog(),
  })

test('after any changes the list says where mail goes as the entries do, and as a look-up does', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(person, { minLength: 3, maxLength: 10 }),
      fc.array(fc.array(person, { minLength: 1, maxLength: 3 }), { maxLength: 8 }),
      (first, steps) =>
        inFolder(async (file) => {
          const directory = new Map<number, Person>()
          const keeper = keeperOf(file)
          // Nobody is the last to go: an empty list is not followed.
          const stays: Person = { id: 99, addresses: [99], flagged: false, hosts: [], routing: [] }
          keeper.entry(idOf(stays), entryOf(stays))
          for (const one of first) {
            // The same entry twice counts once, as it was last.
            const { addresses } = directory.get(one.id) ?? one
            const now = { ...one, addresses }
            directory.set(one.id, now)
            keeper.entry(idOf(now), entryOf(now))
          }
          await keeper.complete()
          const snapshot = { ...SNAPSHOT, file }
          const reader = await SnapshotReader.open(file, fingerprintOf(LIST))
          const { table, mailboxes, meta } = reader
          const follower = listedIn(table, mailboxes, meta.key)
          try {
            check(directory, await readListInForce(LIST, snapshot), 'as it is written')
            for (const [at, step] of steps.entries()) {
              for (const one of step) {
                directory.set(one.id, one)
                if (one.addresses.length > 0) keeper.entry(idOf(one), entryOf(one))
                else keeper.gone(idOf(one))
              }
              await keeper.confirmed(at + 1)
              assert.equal(keeper.unwritten, undefined)
              for await (const batch of reader.batches(statSync(file).size)) {
                assert.ok(await applyBatch(batch, table, mailboxes))
              }
              check(directory, follower, `followed, step ${at}`)
              check(directory, await readListInForce(LIST, snapshot), `read, step ${at}`)
            }
          } finally {
            await Promise.all([reader.close(), keeper.end()])
          }
        }),
    ),
    { numRuns: 120 },
  )
})

const somebody = (id: number, change: Partial<Person> = {}): Person => ({
  id,
  addresses: [id],
  flagged: false,
  hosts: [],
  routing: [],
  ...change,
})

test('the file holds hosts in clear, and no address of anybody', () =>
  inFolder(async (file) => {
    const keeper = keeperOf(file)
    for (let id = 0; id < 50; id++) {
      const one = somebody(id, { hosts: ['EX01'], routing: [`routed${id}@cloud.example`] })
      keeper.entry(idOf(one), entryOf(one))
    }
    await keeper.complete()
    const odd = somebody(51, { hosts: ['somebody@corp.example'] })
    keeper.entry(idOf(odd), entryOf(odd))
    const moved = somebody(7, { hosts: ['EX02'], routing: ['moved7@cloud.example'] })
    keeper.entry(idOf(moved), entryOf(moved))
    await keeper.confirmed(1)
    const list = await readListInForce(LIST, { ...SNAPSHOT, file })
    assert.deepEqual(list.mailbox(addressOf(7)), { host: 'EX02', address: 'moved7@cloud.example' })
    assert.deepEqual(list.mailbox(addressOf(8)), { host: 'EX01', address: 'routed8@cloud.example' })
    assert.deepEqual(list.mailbox(addressOf(51)), { host: 'somebody@corp.example' })
    await keeper.end()
    const text = readFileSync(file, 'latin1')
    assert.match(text, /EX01.*EX02/s)
    assert.doesNotMatch(text, /corp|user|routed|moved|cloud|example|somebody/)
  }))

test('a list that is not asked where mail goes has the file that it always had', async () => {
  const plain = listDefinition(GAL, LDAP)
  await inFolder(async (file) => {
    const keeper = keeperOf(file, plain)
    const one = somebody(1, { hosts: ['EX01'], routing: ['a@cloud.test'] })
    keeper.entry(idOf(one), entryOf(one))
    await keeper.complete()
    keeper.entry(idOf(somebody(2)), entryOf(somebody(2)))
    await keeper.confirmed(1)
    await keeper.end()
    const bytes = readFileSync(file)
    assert.equal(bytes.readUInt32LE(8), 1)
    assert.ok(bytes.subarray(80, 96).every((byte) => byte === 0))
    // header, 64 homes and as much room behind them, and batches of 0, 1 and 0 hashes
    assert.equal(bytes.length, 128 + 2 * 64 * 8 + 40 + 48 + 40)
    assert.equal(
      (await readListInForce(plain, { ...SNAPSHOT, file })).mailbox(addressOf(1)),
      undefined,
    )
    await assert.rejects(readListInForce(LIST, { ...SNAPSHOT, file }), UnusableFile)
  })
  assert.equal(
    fingerprintOf(plain).toString('hex'),
    fingerprintOf({ ...plain, mailbox: undefined }).toString('hex'),
  )
  const others = [ROUTED, { ...ROUTED, host_attribute: '' }, { ...ROUTED, routing_attribute: '' }]
  const prints = [plain, ...others.map((gal) => listDefinition(gal, LDAP))].map((list) =>
    fingerprintOf(list).toString('hex'),
  )
  assert.equal(new Set(prints).size, 4)
})

describe('a sealed routing address', () => {
  const key = Buffer.alloc(16, 7)
  const text = [3, 'ann@cloud.test'] as const

  test('is opened by who knows the address, and nobody else', () => {
    const sealed = seal(key, 'ann@corp.test', text)
    assert.deepEqual(unseal(key, 'ann@corp.test', sealed), text)
    assert.equal(unseal(key, 'bob@corp.test', sealed), undefined)
    assert.equal(unseal(Buffer.alloc(16, 8), 'ann@corp.test', sealed), undefined)
    for (let at = 0; at < sealed.length; at++) {
      const damaged = Buffer.from(sealed)
      damaged.writeUInt8(damaged.readUInt8(at) ^ 1, at)
      assert.equal(unseal(key, 'ann@corp.test', damaged), undefined)
    }
    assert.equal(unseal(key, 'ann@corp.test', sealed.subarray(0, 20)), undefined)
    assert.equal(unseal(key, 'ann@corp.test', Buffer.alloc(0)), undefined)
  })

  test('is the same for the same, and shares nothing with what others have', () => {
    const sealed = seal(key, 'ann@corp.test', text)
    assert.deepEqual(seal(key, 'ann@corp.test', text), sealed)
    const others = [
      seal(key, 'bob@corp.test', text),
      seal(key, 'ann@corp.test', [4, 'ann@cloud.test']),
    ]
    for (const other of others) {
      assert.equal(other.length, sealed.length)
      assert.notDeepEqual(other.subarray(0, 12), sealed.subarray(0, 12))
      assert.notDeepEqual(other.subarray(28), sealed.subarray(28))
    }
  })
})

test('more hosts than have numbers are all known, and so are those that come later', () =>
  inFolder(async (file) => {
    const keeper = keeperOf(file)
    const host = (id: number) => somebody(id, { hosts: [`mbx${id}.corp.test`] })
    const add = (id: number) => keeper.entry(idOf(host(id)), entryOf(host(id)))
    for (let id = 0; id < 58_000; id++) add(id)
    await keeper.complete()
    for (let id = 58_000; id < 60_500; id++) add(id)
    await keeper.confirmed(1)
    const list = await readListInForce(LIST, { ...SNAPSHOT, file })
    await keeper.end()
    assert.equal(list.count, 60_500)
    for (const id of [0, 57_999, 58_000, 59_999, 60_000, 60_499]) {
      assert.deepEqual(list.mailbox(addressOf(id)), { host: `mbx${id}.corp.test` })
    }
  }))

test('changes are written in pieces that a reader takes', () => {
  const count = 250_000
  const sealed = seal(Buffer.alloc(16), 'ann@corp.test', [1, 'ann@cloud.test'])
  const length = Buffer.alloc(2)
  length.writeUInt16LE(sealed.length)
  const numbers = Uint16Array.from({ length: count }, (_, n) => (n % 3 === 0 ? SEALED : 1))
  const changes = {
    added: Uint32Array.from({ length: count * 2 }, (_, n) => n + 1),
    removed: Uint32Array.from({ length: 300_000 }, (_, n) => n + 1),
    mailboxes: {
      hosts: Array.from({ length: 5000 }, (_, n) => `${n}`.padEnd(255, 'x')),
      numbers,
      sealed: Buffer.concat(Array(Math.ceil(count / 3)).fill(Buffer.concat([length, sealed]))),
    },
  }
  const pieces = piecesOf(changes)
  for (const piece of pieces) {
    const bytes = encodeBatch({ ...piece, confirmedAt: 1, feed: 1 })
    assert.ok(bytes.length <= BATCH_BYTES_MOST, String(bytes.length))
  }
  const together = <T>(of: (piece: (typeof pieces)[number]) => Iterable<T> | undefined) =>
    pieces.flatMap((piece) => [...(of(piece) ?? [])])
  assert.deepEqual(
    together(({ added }) => added),
    [...changes.added],
  )
  assert.deepEqual(
    together(({ removed }) => removed),
    [...changes.removed],
  )
  assert.deepEqual(
    together(({ mailboxes }) => mailboxes?.hosts),
    changes.mailboxes.hosts,
  )
  assert.deepEqual(
    together(({ mailboxes }) => mailboxes?.numbers),
    [...numbers],
  )
  const texts = pieces.map(({ mailboxes }) => mailboxes?.sealed ?? Buffer.alloc(0))
  assert.ok(Buffer.concat(texts).equals(changes.mailboxes.sealed))
  // The hosts come before all that may have their numbers.
  assert.ok(pieces.slice(0, 3).every(({ mailboxes }) => mailboxes && mailboxes.hosts.length > 0))
})

test('a process that answers follows a mailbox that moves', () =>
  inFolder(async (file) => {
    const keeper = keeperOf(file)
    const ann = (change: Partial<Person>) => {
      const one = somebody(1, change)
      keeper.entry(idOf(one), entryOf(one))
    }
    ann({ hosts: ['EX01'] })
    await keeper.complete()
    const fingerprint = fingerprintOf(LIST)
    const follower = new Follower({ file, fingerprint, currentFor: 60_000, log: recordedLog() })
    await follower.start()
    const recipient = recipientOf('User1', 'corp.test')
    const mailbox = () => follower.mailbox(recipient)
    assert.deepEqual(mailbox(), { host: 'EX01' })
    ann({ hosts: ['EX02'] })
    await until(() => JSON.stringify(mailbox()) === '{"host":"EX02"}')
    ann({ routing: ['ann@cloud.test'] })
    await until(() => JSON.stringify(mailbox()) === '{"address":"ann@cloud.test"}')
    ann({})
    await until(() => mailbox() === undefined)
    assert.equal(follower.find(recipient), IN_LIST)
    await Promise.all([follower.close(), keeper.end()])
  }))
