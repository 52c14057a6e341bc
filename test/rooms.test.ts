// The house keeps its shape (docs: which room may import which), and every setting is told of where
// people look for it.
import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { describe, test } from 'node:test'
import { FEEDS, feedNumber, feedNumbered } from '../plugins/gal-relay/gal/feeds/table'
import { SECTION_KEYS } from '../plugins/gal-relay/settings/sections'
import { roomsAllowed } from './support/architecture'
import { REPOSITORY } from './support/haraka'

const DOOR = 'plugins/gal-relay.ts'
const HOUSE = 'plugins/gal-relay'

interface Source {
  /** Relative to the repository. */
  readonly file: string
  /** Relative to the repository, without suffix, or a package's name. */
  readonly imports: readonly string[]
  readonly text: string
}

const sources: readonly Source[] = [
  DOOR,
  ...readdirSync(path.join(REPOSITORY, HOUSE), { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.ts'))
    .map((file) => `${HOUSE}/${file}`),
].map((file) => {
  const text = readFileSync(path.join(REPOSITORY, file), 'utf8')
  const named = [...text.matchAll(/(?:\bfrom|\bimport|\brequire\()\s*\(?'([^']+)'/g)]
  const imports = named.map(([, name = '']) =>
    name.startsWith('.')
      ? path.posix.join(path.posix.dirname(file), name.replace(/\.js$/, ''))
      : name,
  )
  return { file, imports, text }
})

/** The folder below plugins/gal-relay, `door`, or undefined for what is not ours. */
function roomOf(file: string): string | undefined {
  if (file.replace(/\.ts$/, '') === DOOR.replace(/\.ts$/, '')) return 'door'
  return file.startsWith(`${HOUSE}/`) ? file.split('/')[2]?.replace(/\.ts$/, '') : undefined
}

/** Rooms that each room may import from, besides its own. */
const INWARDS: Readonly<Record<string, readonly string[]>> = roomsAllowed()

describe('imports', () => {
  test('are found by this test', () => {
    assert.ok(sources.length > 20)
    const door = sources.find(({ file }) => file === DOOR)
    assert.ok(door?.imports.includes(`${HOUSE}/hooks/start`), door?.imports.join())
  })

  test('are of rooms that there are', () => {
    const rooms = new Set(sources.map(({ file }) => roomOf(file)))
    assert.deepEqual(Object.keys(INWARDS).sort(), [...rooms].sort())
  })

  test('go round in no circle, those of types included', () => {
    assert.deepEqual(circles(), [])
  })

  test('point inwards', () => {
    const outwards = sources.flatMap(({ file, imports }) => {
      const room = roomOf(file) ?? ''
      const allowed = INWARDS[room]
      assert.ok(allowed, `${file} is in no known room`)
      return imports
        .map(roomOf)
        .filter((other) => other !== undefined && other !== room && !allowed.includes(other))
        .map((other) => `${file} imports from ${other}`)
    })
    assert.deepEqual(outwards, [])
  })

  test('of settings from ldap are of its grammar and options alone', () => {
    const beyond = sources
      .filter(({ file }) => roomOf(file) === 'settings')
      .flatMap(({ imports }) => imports.filter((name) => roomOf(name) === 'ldap'))
    assert.deepEqual(
      [...new Set(beyond)].sort(),
      ['options', 'syntax'].map((name) => `${HOUSE}/ldap/${name}`),
    )
  })

  test('bring the LDAP client into one room only', () => {
    const users = sources.filter(({ imports }) => imports.some((name) => /^@?ldapjs\b/.test(name)))
    assert.deepEqual(
      users.map(({ file }) => file),
      [`${HOUSE}/ldap/ldapjs.ts`],
    )
  })

  test('leave Haraka’s log to one file, which makes visible what strangers sent', () => {
    const writing = sources
      .filter(({ text }) => /\.log(debug|info|notice|warn|error|crit)\b|\[`log\$/.test(text))
      .map(({ file }) => file)
    assert.deepEqual(writing, [`${HOUSE}/haraka/log.ts`])
  })

  test('leave the command’s output to one file, which does the same', () => {
    const writing = sources
      .filter(({ file }) => roomOf(file) === 'cli')
      .filter(({ text }) => /(stdout|stderr)\.write\(|console\.log\(/.test(text))
      .map(({ file }) => file)
    // The latter writes over its line.
    assert.deepEqual(writing.sort(), [`${HOUSE}/cli/print.ts`, `${HOUSE}/cli/progress.ts`])
  })

  test('leave the rules pure: no files, no network, no clock', () => {
    for (const { file, imports, text } of sources.filter(
      ({ file }) => roomOf(file) === 'routing',
    )) {
      const impure = imports.filter((name) => name.startsWith('node:') && name !== 'node:url')
      assert.deepEqual(impure, [], file)
      assert.doesNotMatch(
        text,
        /\b(Date\.now|new Date|setTimeout|setInterval|process\.|performance\.)/,
        file,
      )
    }
  })

  test('keep Haraka outside of all rooms that need not know it', () => {
    const knowing = sources.filter(({ text }) => /\bHaraka\.\w/.test(text)).map(({ file }) => file)
    const rooms = new Set(knowing.map(roomOf))
    for (const room of ['guard', 'routing', 'ldap', 'gal'])
      assert.ok(!rooms.has(room), `${room} knows Haraka`)
    // Settings are read with Haraka's config reader.
    for (const { file, text } of sources.filter(({ file }) => roomOf(file) === 'settings')) {
      const known = new Set(text.match(/\bHaraka\.\w+/g))
      known.delete('Haraka.Config')
      assert.deepEqual([...known], [], file)
    }
    const answering = sources.filter(({ text }) =>
      /\b(DENYSOFT|DENY|CONT)\b(?!')/.test(text.replace(/\/\/.*|\/\*[\s\S]*?\*\//g, '')),
    )
    assert.deepEqual(new Set(answering.map(({ file }) => roomOf(file))), new Set(['hooks']))
  })

  test('leave each moment of Haraka to one file, and the reply to another', () => {
    const hooks = sources.map(({ file }) => file).filter((file) => roomOf(file) === 'hooks')
    const moments = ['connect', 'mail', 'message', 'queued-mail', 'rcpt', 'start']
    assert.deepEqual(
      hooks.map((file) => path.basename(file, '.ts')).sort(),
      [...moments, 'reply'].sort(),
    )
  })

  test('leave what is known of a message or a connection on it', () => {
    const weak = sources
      .filter(({ file }) => /^(hooks|delivery)$/.test(roomOf(file) ?? ''))
      .filter(({ text }) => /\bWeak(Map|Set|Ref)\b/.test(text))
    assert.deepEqual(
      weak.map(({ file }) => file),
      [],
    )
  })

  test('leave to one file what Haraka does not promise', () => {
    const unpromised =
      /haraka_require|registered_hooks|log_respond|redis_publish|process_delivery|delivery_queue|obtls|split_to_new_recipients|get_mx_respond/
    const users = sources.filter(({ text }) => unpromised.test(text)).map(({ file }) => file)
    assert.deepEqual(users, [`${HOUSE}/haraka/internals.ts`])
    // Of Haraka's address objects; elsewhere they are our own.
    const fields = /\b(mail_from|recipient|address|target|sender|one)\.(address|host)\b/
    const readers = sources.filter(
      ({ file, text }) => /^(hooks|delivery)$/.test(roomOf(file) ?? '') && fields.test(text),
    )
    assert.deepEqual(
      readers.map(({ file }) => file),
      [],
    )
  })
})

/** Files that import each other, over whatever steps; each circle as the files on it. */
function circles(): string[][] {
  const importsOf = new Map(
    sources.map(({ file, imports }) => [file.replace(/\.ts$/, ''), imports] as const),
  )
  const found: string[][] = []
  const done = new Set<string>()
  const visit = (file: string, way: readonly string[]) => {
    const start = way.indexOf(file)
    if (start >= 0) found.push([...way.slice(start), file])
    if (start >= 0 || done.has(file)) return
    for (const next of importsOf.get(file) ?? []) visit(next, [...way, file])
    done.add(file)
  }
  for (const file of importsOf.keys()) visit(file, [])
  return found
}

describe('the ways in which changes of a list arrive', () => {
  const folder = `${HOUSE}/gal/feeds`

  test('are a file each, and a line in the table', () => {
    const others = [`${folder}/change-feed.ts`, `${folder}/table.ts`]
    const files = sources
      .map(({ file }) => file)
      .filter((file) => file.startsWith(folder) && !others.includes(file))
    assert.deepEqual(FEEDS.map(({ name }) => `${folder}/${name}.ts`).sort(), files.sort())
  })

  test('are known to nobody but the table', () => {
    const files = new Set(FEEDS.map(({ name }) => `${folder}/${name}`))
    const users = sources.filter(({ imports }) => imports.some((name) => files.has(name)))
    assert.deepEqual(
      users.map(({ file }) => file),
      [`${folder}/table.ts`],
    )
  })

  test('have the numbers by which list files know them', () => {
    const numbers = FEEDS.map(({ name, number }) => [name, number])
    assert.deepEqual(Object.fromEntries(numbers), {
      syncrepl: 1,
      dirsync: 2,
      usn: 3,
      timestamps: 4,
    })
    for (const { name, number } of FEEDS) {
      assert.equal(feedNumber(name), number)
      assert.equal(feedNumbered(number), name)
    }
    assert.deepEqual([feedNumber('none'), feedNumbered(0), feedNumbered(99)], [0, 'none', 'none'])
  })
})

// ── Every key of the schema, where people look for it ───────────────────────────────────────────

/** `[section] key` */
const KEYS: readonly string[] = Object.entries(SECTION_KEYS)
  .flatMap(([section, keys]) => keys.map((key) => `[${section}] ${key}`))
  .sort()

describe('every key of the settings', () => {
  test('is in config/gal_relay.ini, commented out, and nothing else is', () => {
    const text = readFileSync(path.join(REPOSITORY, 'config', 'gal_relay.ini'), 'utf8')
    assert.deepEqual(
      text.split('\n').filter((line) => !/^(;.*|\[[a-z]+\]|)$/.test(line)),
      [],
      'lines that set something',
    )
    assert.deepEqual([...keysOfIni(text)].sort(), KEYS)
  })

  test('is in the table of the README, and nothing else is', () => {
    const readme = readFileSync(path.join(REPOSITORY, 'README.md'), 'utf8')
    assert.deepEqual([...keysOfTable(readme)].sort(), KEYS)
  })
})

function keysOfIni(text: string): Set<string> {
  const keys = new Set<string>()
  let section = 'main'
  for (const line of text.split('\n')) {
    const heading = /^;?\[(\w+)/.exec(line)
    if (heading) section = heading[1] ?? ''
    const key = /^;([a-z_\d]+)(?:\[\])? =/.exec(line)?.[1]
    // What a directory takes from other sections is named there; hosts have any names.
    const isElsewhere = (section === 'directory' && key !== 'domains') || section === 'hosts'
    if (key && section !== 'listener' && !isElsewhere) keys.add(`[${section}] ${key}`)
  }
  return keys
}

function keysOfTable(markdown: string): Set<string> {
  const keys = new Set<string>()
  let section = ''
  const start = markdown.indexOf('| section | key |')
  for (const line of markdown.slice(start, markdown.indexOf('\n\n', start)).split('\n').slice(2)) {
    const [, first = '', second = ''] = line.split('|')
    section = /\[(\w+)[^\]]*\]/.exec(first)?.[1] ?? section
    for (const [, key] of second.matchAll(/`([a-z_\d]+)(?:\[\])?`/g))
      keys.add(`[${section}] ${key}`)
  }
  return keys
}
