// What others may have put there, or may change, is not believed; and what a sound system has is.
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import {
  chmodSync,
  chownSync,
  lchownSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterEach, beforeEach, describe, test } from 'node:test'
import {
  openOwn,
  ROOT_AND_US,
  readTrusted,
  requireOwnFolder,
  UntrustedFile,
} from '../plugins/gal-relay/trusted-file'

const STRANGER = 54_321
const asRoot = { skip: process.getuid?.() === 0 ? false : 'needs root' }

let folder: string
beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'trusted-'))
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

/** @returns the file, with these words and this mode whatever the umask */
function written(name: string, mode = 0o600): string {
  const file = path.join(folder, name)
  writeFileSync(file, 'secret')
  chmodSync(file, mode)
  return file
}

const read = async (file: string, trusted = ROOT_AND_US) => String(await readTrusted(file, trusted))

/** As the list is opened. */
async function own(file: string, trusted = ROOT_AND_US): Promise<string> {
  const handle = await openOwn(file, trusted, 1000)
  try {
    return await handle.readFile('utf8')
  } finally {
    await handle.close()
  }
}

const refused = (reading: Promise<unknown>, why: RegExp) =>
  assert.rejects(reading, (error: unknown) => {
    assert.ok(error instanceof UntrustedFile, String(error))
    assert.match(error.message, why)
    return true
  })

describe('a file', () => {
  test('of ours is read, whoever may read it', async () => {
    for (const mode of [0o400, 0o600, 0o640, 0o644]) {
      const file = written(`m${mode}`, mode)
      assert.deepEqual([await read(file), await own(file)], ['secret', 'secret'])
    }
  })

  test('that is missing is missing', async () => {
    await assert.rejects(read(path.join(folder, 'none')), { code: 'ENOENT' })
    await assert.rejects(own(path.join(folder, 'none', 'none')), { code: 'ENOENT' })
  })

  test('that others may write is not believed', async () => {
    const why = /others may write to .*open \(owner \d+, group \d+, mode 0666\): .*chmod go-w/
    const file = written('open', 0o666)
    await refused(read(file), why)
    await refused(own(file), why)
  })

  test('that a group may write is believed if the group is ours', asRoot, async () => {
    const file = written('shared', 0o660)
    assert.equal(await read(file), 'secret')
    chownSync(file, 0, STRANGER)
    await refused(read(file), /others may write/)
    assert.equal(await read(file, { users: [], groups: [STRANGER] }), 'secret')
  })

  test('of another user is not believed, unless Haraka runs as that one', asRoot, async () => {
    const file = written('foreign')
    chownSync(file, STRANGER, STRANGER)
    const why =
      /foreign belongs to user 54321, who is neither root nor .* \(owner 54321, .* mode 0600\)/
    await refused(read(file), why)
    await refused(own(file), why)
    const trusted = { users: [STRANGER], groups: [] }
    assert.deepEqual([await read(file, trusted), await own(file, trusted)], ['secret', 'secret'])
  })

  test('that is a named pipe, a folder or a device keeps nobody waiting', async () => {
    const pipe = path.join(folder, 'pipe')
    execFileSync('mkfifo', [pipe])
    for (const how of [read, own]) await refused(how(pipe), /is a named pipe, not a file/)
    await refused(read(folder), /is a folder, not a file/)
    await refused(read('/dev/zero'), /is a device, not a file/)
  })

  test('of terabytes is not read', async () => {
    const file = written('sparse')
    truncateSync(file, 2 ** 42)
    await refused(read(file), /has 4398046511104 bytes, more than/)
    await refused(own(file), /has 4398046511104 bytes, more than 1000/)
  })
})

describe('a symbolic link', () => {
  test('leads to a password, as Kubernetes makes it, and not to a list', async () => {
    mkdirSync(path.join(folder, '..2026'))
    written('..2026/password', 0o644)
    symlinkSync('..2026', path.join(folder, '..data'))
    const link = path.join(folder, 'password')
    symlinkSync('..data/password', link)
    chmodSync(folder, 0o1777)
    assert.equal(await read(link), 'secret')
    chmodSync(folder, 0o755)
    await refused(own(link), /password is a symbolic link, not a file/)
  })

  test('of another user leads nowhere, whatever it leads to', asRoot, async () => {
    const file = written('file')
    const link = path.join(folder, 'link')
    for (const target of [file, '/etc/shadow', path.join(folder, 'none')]) {
      symlinkSync(target, link)
      lchownSync(link, STRANGER, STRANGER)
      await refused(read(link), /the symbolic link .*link belongs to user 54321/)
      rmSync(link)
    }
  })

  test('that leads in a circle ends', async () => {
    symlinkSync('b', path.join(folder, 'a'))
    symlinkSync('a', path.join(folder, 'b'))
    await refused(read(path.join(folder, 'a')), /more than 40 links/)
  })
})

describe('a folder', () => {
  const inside = (name: string, mode: number) => {
    const one = path.join(folder, name)
    mkdirSync(one)
    writeFileSync(path.join(one, 'file'), 'secret', { mode: 0o600 })
    chmodSync(one, mode)
    return path.join(one, 'file')
  }

  test('of ours is one to write to', async () => {
    for (const mode of [0o700, 0o750, 0o755]) {
      const file = inside(`m${mode}`, mode)
      assert.equal(await own(file), 'secret')
      await requireOwnFolder(path.dirname(file), ROOT_AND_US)
    }
  })

  test('that everybody may write to has nothing to be believed', async () => {
    const file = inside('open', 0o777)
    await refused(read(file), /everybody may write to the folder .*open .*mode 0777\): chmod o-w/)
    await refused(own(file), /may write to the folder .*open .*mode 0777\)/)
  })

  test('like /tmp has passwords of ours, and no list', async () => {
    const file = inside('sticky', 0o1777)
    assert.equal(await read(file), 'secret')
    await refused(own(file), /others may write to the folder .*sticky .*mode 1777\)/)
  })

  test('that everybody may write to, further up, is found', async () => {
    mkdirSync(path.join(folder, 'up', 'down'), { recursive: true })
    chmodSync(path.join(folder, 'up'), 0o777)
    const file = written('up/down/file')
    for (const how of [read, own]) {
      await refused(how(file), /everybody may write to the folder .*\/up \(/)
    }
  })

  test('of another user has nothing to be believed', asRoot, async () => {
    const file = inside('foreign', 0o755)
    chownSync(path.dirname(file), STRANGER, STRANGER)
    for (const how of [read, own]) {
      await refused(how(file), /the folder .*foreign belongs to user 54321/)
    }
    const trusted = { users: [STRANGER], groups: [STRANGER] }
    assert.deepEqual([await read(file, trusted), await own(file, trusted)], ['secret', 'secret'])
  })
})
