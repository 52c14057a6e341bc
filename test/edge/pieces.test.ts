// A list on its way in a file that anybody may write to: whatever is not as it was published is refused, the
// list in force stays, and the log says why, once.
import assert from 'node:assert/strict'
import { chmodSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { after, before, describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { FileSink } from '../../plugins/gal-relay/fleet/file-carrier'
import { readListKeys } from '../../plugins/gal-relay/fleet/list-keys'
import { ROOT_AND_US } from '../../plugins/gal-relay/trusted-file'
import {
  channelBy,
  type Folder,
  type Gateway,
  KeptFile,
  listFolder,
  publisherOf,
  startGateway,
} from '../support/published-list'
import { until } from '../support/until'

/** Enough for three parts. */
const PEOPLE = Array.from({ length: 70_000 }, (_, n) => `user${n}@corp.test`)

/** Head, parts and changes. */
function framesOf(file: string): Buffer[] {
  const bytes = readFileSync(file)
  const frames: Buffer[] = []
  for (let at = 0; at < bytes.length; ) {
    const end = at + 4 + bytes.readUInt32LE(at)
    frames.push(bytes.subarray(at + 4, end))
    at = end
  }
  return frames
}

function writeFrames(file: string, frames: readonly Buffer[]): void {
  const parts = frames.flatMap((frame) => {
    const length = Buffer.alloc(4)
    length.writeUInt32LE(frame.length)
    return [length, frame]
  })
  writeFileSync(`${file}.new`, Buffer.concat(parts))
  renameSync(`${file}.new`, file)
}

function flipped(frame: Buffer): Buffer {
  const other = Buffer.from(frame)
  other[other.length - 1] = (other.at(-1) ?? 0) ^ 1
  return other
}

/** The file that is published, and what came to be in it. */
async function published(
  folder: Folder,
  name: string,
  { list = 'default', key = folder.key(), changes = [] as string[], people = PEOPLE } = {},
): Promise<Buffer[]> {
  const kept = new KeptFile(path.join(folder.folder, `${name}.kept`))
  const to = path.join(folder.folder, `${name}.list`)
  const sink = await FileSink.open(to)
  const publisher = publisherOf(kept.file, sink, key, list)
  await kept.read(people)
  for (const one of changes) await kept.change([one])
  assert.ok(await publisher.step())
  await publisher.close()
  await sink.close()
  await kept.close()
  return framesOf(to)
}

describe('a list on its way', () => {
  let folder: Folder
  let channel: ReturnType<typeof channelBy>
  let to: string
  let gateway: Gateway
  let good: Buffer[]
  let older: Buffer[]
  let newer: Buffer[]
  before(async () => {
    folder = listFolder()
    to = path.join(folder.folder, 'received.list')
    channel = channelBy({ file: to }, folder.key(), 'receive')
    older = await published(folder, 'older')
    await sleep(2)
    good = await published(folder, 'good', { changes: ['first@corp.test', 'second@corp.test'] })
    await sleep(2)
    newer = await published(folder, 'newer', { changes: ['third@corp.test', 'fourth@corp.test'] })
    writeFrames(to, good)
    gateway = await startGateway(path.join(folder.folder, 'own.snapshot'), channel)
    await until(() => gateway.isCurrent)
    assert.equal(gateway.count, PEOPLE.length + 2)
  })
  after(async () => {
    await gateway?.stop()
    folder.remove()
  })

  test('has three parts, and nobody in it who reads along', () => {
    // A head, a first batch, two changes.
    assert.equal(good.length - 4, 3)
    const all = Buffer.concat(good).toString('latin1')
    assert.doesNotMatch(all, /user|corp|first/)
    const [again] = framesOf(path.join(folder.folder, 'good.list'))
    assert.ok(again)
  })

  async function isRefused(frames: readonly Buffer[], reason: RegExp): Promise<void> {
    const from = gateway.log.lines.length
    writeFrames(to, frames)
    const news = () => gateway.log.lines.slice(from)
    await until(() => news().some((line) => reason.test(line)))
    // It is looked at again and again.
    await sleep(700)
    assert.equal(news().filter((line) => line.startsWith('error')).length, 1, news().join('\n'))
    assert.match(news().join('\n'), /is refused, and the one in force is kept/)
    assert.ok(gateway.has('second@corp.test'))
    assert.ok(!gateway.has('fourth@corp.test'))
    assert.equal(gateway.count, PEOPLE.length + 2)
    writeFrames(to, good)
    await until(() => news().some((line) => /is received again/.test(line)))
  }

  const changed: readonly (readonly [string, () => Promise<Buffer[]> | Buffer[], RegExp])[] = [
    ['a part is changed', () => newer.with(2, flipped(newer[2] as Buffer)), /signature is wrong/],
    ['the head is changed', () => newer.with(0, flipped(newer[0] as Buffer)), /signature is wrong/],
    ['a part is missing', () => newer.toSpliced(2, 1), /part 2 is where part 1 belongs/],
    [
      'parts are exchanged',
      () => newer.with(1, newer[2] as Buffer).with(2, newer[1] as Buffer),
      /another order: part 1 is where part 0 belongs/,
    ],
    [
      'a part is of another list of the same name',
      () => newer.with(2, older[2] as Buffer),
      /two lists are mixed up/,
    ],
    ['it ends among its parts', () => newer.slice(0, 3), /cut off: part 3 of 3 is missing/],
    [
      'a change is replayed',
      () => newer.toSpliced(-1, 0, newer[5] as Buffer),
      /replayed.*change 2 is where change 3 belongs/,
    ],
    ['a change is missing', () => newer.toSpliced(-2, 1), /change 3 is where change 2 belongs/],
    ['a change is another one’s', () => newer.with(-1, good.at(-1) as Buffer), /are mixed up/],
    ['it is from before the one in force', () => older, /from before the one in force/],
    [
      'it is signed with another secret',
      () => published(folder, 'forged', { key: folder.key('b') }),
      /signature is wrong/,
    ],
    [
      'it is of another name',
      () => published(folder, 'other', { list: 'beta' }),
      /of the list beta, not of default/,
    ],
    ['it is no list', () => [Buffer.from('hello')], /cut off/],
  ]
  for (const [what, frames, reason] of changed) {
    test(`is refused where ${what}`, async () => isRefused(await frames(), reason))
  }

  test('may come to its end later: what is not there yet is waited for', async () => {
    const from = gateway.log.lines.length
    writeFileSync(`${to}.new`, readFileSync(path.join(folder.folder, 'good.list')).subarray(0, -10))
    renameSync(`${to}.new`, to)
    await sleep(1500)
    assert.deepEqual(gateway.log.lines.slice(from), [])
    writeFrames(to, good)
    assert.ok(gateway.has('second@corp.test'))
  })

  test('is refused after a restart too, when it is older', async () => {
    await gateway.stop()
    writeFrames(to, good.slice(0, -1))
    gateway = await startGateway(gateway.file, channel)
    const said = (reason: RegExp) => gateway.log.lines.some((line) => reason.test(line))
    await until(() =>
      said(/from before the one in force \(number \d+, and number \d+ with 3 changes/),
    )
    assert.ok(gateway.has('second@corp.test'))
    assert.ok(!gateway.isCurrent)
    writeFrames(to, older)
    await sleep(2000)
    assert.ok(gateway.has('second@corp.test'))
    writeFrames(to, newer)
    await until(() => gateway.has('fourth@corp.test'))
    await until(() => gateway.isCurrent)
    assert.ok(!gateway.has('second@corp.test'))
  })

  test('may be signed with a secret that is about to be changed', async () => {
    const from = gateway.log.lines.length
    writeFileSync(channel.key_file, `${'a'.repeat(40)}\n${'c'.repeat(40)}\n`)
    const key = folder.key('c')
    writeFrames(to, await published(folder, 'rotated', { key, changes: ['fifth@corp.test'] }))
    await until(() => gateway.has('fifth@corp.test'))
    assert.deepEqual(
      gateway.log.lines.slice(from).filter((line) => /error/.test(line)),
      [],
    )
  })
})

describe('the file with the secret', () => {
  test('says what is wrong with it', async () => {
    const folder = listFolder()
    const file = folder.key()
    try {
      await readListKeys(file, ROOT_AND_US)
      chmodSync(file, 0o640)
      await readListKeys(file, ROOT_AND_US)
      chmodSync(file, 0o644)
      await assert.rejects(readListKeys(file, ROOT_AND_US), /every user may read .*\(mode 0644\)/)
      chmodSync(file, 0o600)
      writeFileSync(file, `${'a'.repeat(40)}\nshort\n`)
      await assert.rejects(readListKeys(file, ROOT_AND_US), /line 2 of .* has 5 characters/)
      writeFileSync(file, '\n')
      await assert.rejects(readListKeys(file, ROOT_AND_US), /is empty: make one with: openssl/)
    } finally {
      folder.remove()
    }
  })
})
