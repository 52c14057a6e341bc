// The snapshot on disk: what was written is read again, what is not whole or not meant for these
// settings is not used, and a disk that is full changes nothing.
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import {
  chmodSync,
  chownSync,
  lchownSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, before, describe, test } from 'node:test'
import { Hasher } from '../../../plugins/gal-relay/gal/snapshot/address-hash'
import { IN_LIST, NOT_IN_LIST } from '../../../plugins/gal-relay/gal/snapshot/address-table'
import {
  applyBatch,
  removeUnfinished,
  SnapshotReader,
  SnapshotWriter,
} from '../../../plugins/gal-relay/gal/snapshot/file'
import { type Batch, UnusableFile } from '../../../plugins/gal-relay/gal/snapshot/file-format'
import { Follower } from '../../../plugins/gal-relay/gal/snapshot/follower'
import {
  type Membership,
  MembershipBuilder,
} from '../../../plugins/gal-relay/gal/snapshot/membership'
import { until } from '../../support/until'
import { recordedLog } from '../lists'

const FINGERPRINT = Buffer.alloc(32, 7)
const NONE = new Uint32Array(0)

const nobody = (confirmedAt: number): Batch => ({
  added: NONE,
  removed: NONE,
  confirmedAt,
  feed: 1,
})
const id = (n: number) => Buffer.from([n >> 8, n & 255])

function membershipOf(count: number): Membership {
  const builder = new MembershipBuilder()
  for (let n = 0; n < count; n++) builder.add(id(n), [`user${n}@corp.test`], false)
  return builder.build()
}

function write(file: string, membership: Membership): Promise<SnapshotWriter> {
  const meta = { key: membership.key, fingerprint: FINGERPRINT, takenAt: 1000 }
  return SnapshotWriter.create(file, meta, membership.table, nobody(2000))
}

function change(membership: Membership, n: number, ...addresses: string[]): Batch {
  membership.set(id(n), addresses, false)
  return { ...membership.takeChanges(), confirmedAt: 3000 + n, feed: 1 }
}

/** What a reader finds: addresses of the first ones, and what came since. */
async function read(file: string, key: Buffer) {
  const reader = await SnapshotReader.open(file, FINGERPRINT)
  const hasher = new Hasher(key)
  let batches = 0
  for await (const batch of reader.batches(reader.sizeAtFirst)) {
    await applyBatch(batch, reader.table)
    batches++
  }
  await reader.close()
  const find = (address: string) => {
    const { hi, lo } = hasher.address(address)
    return reader.table.find(hi, lo)
  }
  return { meta: reader.meta, count: reader.table.count, batches, find }
}

describe('the file of the snapshot', () => {
  let folder: string
  let file: string

  before(() => {
    folder = mkdtempSync(path.join(tmpdir(), 'snapshot-'))
    file = path.join(folder, 'list')
  })
  after(() => rmSync(folder, { recursive: true }))

  test('is read as it was written, changes included, by its owner only', async () => {
    const membership = membershipOf(100)
    const writer = await write(file, membership)
    await writer.append(change(membership, 5))
    await writer.append(change(membership, 6, 'new@corp.test', 'user6@corp.test'))
    const { meta, count, batches, find } = await read(file, membership.key)
    assert.deepEqual(meta, { key: membership.key, fingerprint: FINGERPRINT, takenAt: 1000 })
    assert.equal(count, 100)
    assert.equal(batches, 3)
    assert.equal(find('user4@corp.test'), IN_LIST)
    assert.equal(find('user5@corp.test'), NOT_IN_LIST)
    assert.equal(find('user6@corp.test'), IN_LIST)
    assert.equal(find('new@corp.test'), IN_LIST)
    assert.equal(statSync(file).mode & 0o777, 0o600)
    assert.equal(await writer.place(), 'in force')
    await writer.close()
  })

  test('holds no address', async () => {
    const membership = membershipOf(100)
    const writer = await write(file, membership)
    await writer.append(change(membership, 5, 'new@corp.test'))
    await writer.close()
    const text = readFileSync(file, 'latin1')
    assert.ok(!/corp|user|new@/.test(text))
  })

  test('is whole or not used: every length, and every byte damaged', async () => {
    const membership = membershipOf(10)
    const writer = await write(file, membership)
    const first = readFileSync(file).length
    await writer.append(change(membership, 3))
    await writer.close()
    const whole = readFileSync(file)
    const state = async () => {
      try {
        const { count, find, batches } = await read(file, membership.key)
        return `${count} ${find('user3@corp.test')} ${batches}`
      } catch (error) {
        assert.ok(error instanceof UnusableFile, String(error))
        return 'not used'
      }
    }
    const table = first - 40
    const expected = (intact: number) => {
      if (intact < table) return 'not used'
      if (intact < first) return `10 ${IN_LIST} 0`
      return intact < whole.length ? `10 ${IN_LIST} 1` : `9 ${NOT_IN_LIST} 2`
    }
    for (let length = 0; length <= whole.length; length++) {
      writeFileSync(file, whole.subarray(0, length))
      assert.equal(await state(), expected(length), `${length} bytes`)
    }
    for (let at = 0; at < whole.length; at++) {
      const damaged = Buffer.from(whole)
      damaged[at] = (damaged[at] as number) ^ (1 << (at % 8))
      writeFileSync(file, damaged)
      assert.equal(await state(), expected(at), `byte ${at}`)
    }
  })

  test('is not used by other settings, another version or another kind of machine', async () => {
    const membership = membershipOf(10)
    const writer = await write(file, membership)
    await writer.close()
    await assert.rejects(
      SnapshotReader.open(file, Buffer.alloc(32)),
      /made with a different base, filter or list of attributes/,
    )
    const whole = readFileSync(file)
    const changed = (at: number, value: number) => {
      const other = Buffer.from(whole)
      other.writeUInt32LE(value, at)
      writeFileSync(file, other)
    }
    changed(8, 99)
    await assert.rejects(SnapshotReader.open(file, FINGERPRINT), /has version 99/)
    changed(12, 0x04030201)
    await assert.rejects(SnapshotReader.open(file, FINGERPRINT), /another kind of machine/)
    writeFileSync(file, 'something else'.repeat(100))
    await assert.rejects(SnapshotReader.open(file, FINGERPRINT), /not a snapshot/)
  })

  test('a follower says once that it does not use a file, and uses the next one', async () => {
    writeFileSync(file, 'something else'.repeat(100))
    const log = recordedLog()
    const follower = new Follower({ file, fingerprint: FINGERPRINT, currentFor: 60_000, log })
    await follower.start()
    assert.equal(follower.hasList, false)
    await new Promise((resolve) => setTimeout(resolve, 800))
    assert.equal(log.lines.length, 1)
    assert.match(log.lines[0] ?? '', /^error .*is not used: it is not a snapshot/)
    const writer = await write(file, membershipOf(10))
    await until(() => follower.addresses === 10)
    await Promise.all([follower.close(), writer.close()])
  })

  test('one that another user forged is not used, and gets the next list by no link', {
    skip: process.getuid?.() === 0 ? false : 'needs root',
  }, async () => {
    const stranger = 54_321
    const forged = await write(file, membershipOf(10))
    await forged.close()
    chownSync(file, stranger, stranger)
    const log = recordedLog()
    const follower = new Follower({ file, fingerprint: FINGERPRINT, currentFor: 60_000, log })
    await follower.start()
    assert.equal(follower.hasList, false)
    assert.match(log.lines.join(), /^error .*belongs to user 54321, who is neither root nor /)
    const linked = path.join(folder, 'linked')
    renameSync(file, linked)
    symlinkSync(linked, file)
    lchownSync(file, stranger, stranger)
    await until(() => log.lines.some((line) => line.includes('is a symbolic link')))
    assert.equal(follower.hasList, false)
    const writer = await write(file, membershipOf(20))
    await until(() => follower.addresses === 20)
    assert.deepEqual([lstatSync(file).isFile(), lstatSync(file).uid], [true, 0])
    await Promise.all([follower.close(), writer.close()])
  })

  test('one that claims more recipients than there are takes no memory', async () => {
    const writer = await write(file, membershipOf(10))
    await writer.close()
    const whole = readFileSync(file)
    whole.writeUInt32LE(0xffff_ffff, 16)
    writeFileSync(file, whole)
    truncateSync(file, 2 ** 31)
    await assert.rejects(SnapshotReader.open(file, FINGERPRINT), /claims room for 4294967295 recip/)
    truncateSync(file, 2 ** 42)
    await assert.rejects(SnapshotReader.open(file, FINGERPRINT), /has 4398046511104 bytes/)
  })

  test('none is written where others may write', async () => {
    const open = path.join(folder, 'open')
    mkdirSync(open)
    chmodSync(open, 0o777)
    await assert.rejects(
      write(path.join(open, 'list'), membershipOf(10)),
      /may write to the folder/,
    )
    assert.deepEqual(readdirSync(open), [])
  })

  test('a pipe or a device is not replaced', async () => {
    const pipe = path.join(folder, 'pipe')
    execFileSync('mkfifo', [pipe])
    await assert.rejects(write(pipe, membershipOf(10)), /pipe is no file, and is not replaced/)
    assert.ok(lstatSync(pipe).isFIFO())
    rmSync(pipe)
  })

  test('a new list takes the name of the old one, whose writer notices', async () => {
    const former = await write(file, membershipOf(10))
    const writer = await write(file, membershipOf(20))
    assert.equal(await former.place(), 'replaced')
    assert.equal(await writer.place(), 'in force')
    rmSync(file)
    assert.equal(await writer.place(), 'gone')
    await Promise.all([former.close(), writer.close()])
  })

  test('what killed writers left is removed', async () => {
    writeFileSync(`${file}.77-1.unfinished`, 'half')
    await removeUnfinished(file)
    assert.deepEqual(
      readdirSync(folder).filter((name) => name.includes('unfinished')),
      [],
    )
  })

  test('on a disk that is full nothing is lost', { skip: skipWithoutMount() }, async () => {
    const disk = path.join(folder, 'disk')
    mkdirSync(disk)
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1m,mode=0700', 'tmpfs', disk])
    try {
      const small = path.join(disk, 'list')
      const membership = membershipOf(20_000)
      const writer = await write(small, membership)
      writeFileSync(path.join(disk, 'filler'), Buffer.alloc(600 << 10))
      await assert.rejects(write(small, membershipOf(20_000)), { code: 'ENOSPC' })
      assert.deepEqual(readdirSync(disk).sort(), ['filler', 'list'])
      await assert.rejects(
        async () => {
          for (;;) await writer.append(nobody(4000))
        },
        { code: 'ENOSPC' },
      )
      await assert.rejects(writer.append(nobody(4000)), /could not be written before/)
      await writer.close()
      const { count, find } = await read(small, membership.key)
      assert.equal(count, 20_000)
      assert.equal(find('user7@corp.test'), IN_LIST)
    } finally {
      execFileSync('umount', ['-l', disk])
    }
  })
})

function skipWithoutMount(): string | false {
  if (process.getuid?.() === 0) return false
  if (process.env.CI === 'true') throw new Error('needs root, to mount a small disk')
  return 'needs root, to mount a small disk'
}
