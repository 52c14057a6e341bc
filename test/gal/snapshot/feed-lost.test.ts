// The directory stops reporting changes, in every way that may happen, and changes meanwhile: from then on
// no address is called absent unless the directory has just confirmed that, and in the end the list matches
// the directory.
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { closeSync, mkdtempSync, openSync, rmSync, statSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, before, describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { DIRSYNC } from '../../../plugins/gal-relay/gal/feeds/dirsync'
import { skipWithout } from '../../support/programs'
import { type Slapd, startSlapd } from '../../support/slapd'
import { startTcpProxy, type TcpProxy } from '../../support/tcp-proxy'
import { until } from '../../support/until'
import { ACTIVE_DIRECTORY, type TestDirectory } from '../directories'
import { serverUrl, type TestList, testList } from '../lists'

const CHANGES_EVERY = 1500
const TIMES = {
  connect_timeout: 500,
  query_timeout: 500,
  answer_within: 1500,
  retry_after: { least: 100, most: 500 },
}

const STAYS = Array.from({ length: 30 }, (_, i) => `stays${i}@example.com`)

interface Site {
  readonly slapd: Slapd
  readonly proxy: TcpProxy
  readonly list: TestList
}

async function withSite(run: (site: Site) => Promise<void>): Promise<void> {
  const folder = mkdtempSync(path.join(tmpdir(), 'snapshot-'))
  const slapd = await startSlapd({ entries: [...STAYS, 'leaves@example.com'] })
  const proxy = await startTcpProxy(slapd.port)
  const list = listBehind(proxy, folder, { base: [slapd.base] })
  try {
    list.start()
    await until(() => isCurrent(list))
    await run({ slapd, proxy, list })
  } finally {
    await list.close()
    await Promise.all([proxy.stop(), slapd.stop()])
    rmSync(folder, { recursive: true })
  }
}

function listBehind(
  proxy: TcpProxy,
  folder: string,
  ldap: Parameters<typeof testList>[0],
): TestList {
  return testList(
    { ...TIMES, ...ldap, url: [serverUrl(`ldap://127.0.0.1:${proxy.port}`)] },
    { mode: 'snapshot' },
    { file: path.join(folder, 'list'), changes_every: CHANGES_EVERY },
  )
}

const isCurrent = (list: TestList) => list.report().snapshot?.isCurrent === true

// Longer than any test waits, but not for ever, in case a test fails.
const ASKED_FOR = 120_000

/** Asks again and again. */
function keepAsking(list: TestList, address: string) {
  const answers = new Set<string>()
  let isOver = false
  setTimeout(() => {
    isOver = true
  }, ASKED_FOR).unref()
  const asking = (async () => {
    while (!isOver) {
      answers.add(await list.ask(address))
      await sleep(5)
    }
  })()
  return {
    /** Waits until that has been the answer. */
    heard: (answer: string) => until(() => answers.has(answer)),
    /** @returns the answers, each once */
    async stop() {
      isOver = true
      await asking
      return [...answers]
    },
  }
}

/** In the end the list matches the directory, and follows it. */
async function assertFollows({ slapd, list }: Pick<Site, 'slapd' | 'list'>): Promise<void> {
  await slapd.add('later@example.com')
  await list.becomes('later@example.com', 'found')
  await list.becomes('nobody@example.com', 'absent')
  for (const address of STAYS) assert.equal(await list.ask(address), 'found')
}

describe('the feed of changes is lost', {
  skip: skipWithout('slapd', 'slapadd', 'ldapmodify', 'faketime'),
  concurrency: 4,
}, () => {
  test('the connections are cut, and an entry is made and one deleted before they are back', () =>
    withSite(async (site) => {
      const { slapd, proxy, list } = site
      proxy.behave({ kind: 'reset' })
      await until(() => !isCurrent(list))
      await slapd.add('new@example.com')
      await slapd.delete(slapd.dnOf('leaves@example.com'))
      const asking = keepAsking(list, 'new@example.com')
      await asking.heard('unavailable')
      assert.equal(await list.ask('stays1@example.com'), 'found')
      proxy.behave({ kind: 'pass' })
      await assertFollows(site)
      await asking.heard('found')
      assert.deepEqual(await asking.stop(), ['unavailable', 'found'])
      await list.becomes('leaves@example.com', 'absent')
    }))

  test('connections stay open, but nothing comes over them any more', () =>
    withSite(async (site) => {
      const { slapd, proxy, list } = site
      proxy.behave({ kind: 'hang' })
      await until(() => {
        const { isCurrent: relied = false, asOf = 0 } = list.report().snapshot ?? {}
        const age = Date.now() - asOf
        assert.ok(!relied || age <= 2 * CHANGES_EVERY + 20, `relied on when ${age} ms old`)
        return !relied
      })
      await slapd.add('new@example.com')
      const asking = keepAsking(list, 'new@example.com')
      await asking.heard('unavailable')
      proxy.behave({ kind: 'pass' })
      proxy.drop()
      await assertFollows(site)
      await asking.heard('found')
      assert.deepEqual(await asking.stop(), ['unavailable', 'found'])
    }))

  test('the server is restored from a backup of an earlier state', () =>
    withSite(async (site) => {
      const { slapd, list } = site
      await slapd.add('young@example.com')
      await list.becomes('young@example.com', 'found')
      await slapd.rebuild([...STAYS, 'lost@example.com'])
      await list.becomes('lost@example.com', 'found')
      await list.becomes('young@example.com', 'absent')
      await assertFollows(site)
    }))

  test('the server’s clock is set back an hour while it is away', () =>
    withSite(async (site) => {
      const { slapd, list } = site
      await slapd.kill()
      await until(() => !isCurrent(list))
      await slapd.restart({ clock: '-1h' })
      await slapd.add('past@example.com')
      await slapd.delete(slapd.dnOf('leaves@example.com'))
      await assertFollows(site)
      await list.becomes('past@example.com', 'found')
      await list.becomes('leaves@example.com', 'absent')
    }))

  test('the server’s clock is an hour ahead', () =>
    withSite(async (site) => {
      const { slapd, list } = site
      await slapd.restart({ clock: '+1h' })
      await slapd.add('future@example.com')
      await list.becomes('future@example.com', 'found')
      await slapd.restart()
      await slapd.add('present@example.com')
      await assertFollows(site)
      await list.becomes('future@example.com', 'found')
      await list.becomes('present@example.com', 'found')
    }))

  test('a container is made after the list was read, and leaves the base', async () => {
    const folder = mkdtempSync(path.join(tmpdir(), 'snapshot-'))
    const unit = (ou: string, above: string) => ({
      ...{ dn: `ou=${ou},${above}`, objectClass: 'organizationalUnit', ou },
      ...{ cn: undefined, sn: undefined },
    })
    const top = 'dc=corp,dc=test'
    const base = `ou=in,${top}`
    const slapd = await startSlapd({
      entries: [unit('in', top), { dn: `cn=stays,${base}`, mail: 'stays@example.com' }],
    })
    const list = testList(
      { url: [serverUrl(slapd.url)], base: [base] },
      { mode: 'snapshot' },
      { file: path.join(folder, 'list'), changes_every: CHANGES_EVERY },
    )
    try {
      list.start()
      await until(() => isCurrent(list))
      const made = unit('made', base)
      await slapd.add(made, { dn: `cn=new,${made.dn}`, mail: 'new@example.com' })
      await list.becomes('new@example.com', 'found')
      await slapd.move(made.dn, top)
      await list.becomes('new@example.com', 'absent', 15_000)
      assert.equal(await list.ask('stays@example.com'), 'found')
    } finally {
      await list.close()
      await slapd.stop()
      rmSync(folder, { recursive: true })
    }
  })

  test('there is no room for a new list: changes are still followed in the one before it', {
    skip: process.getuid?.() === 0 ? false : 'needs root, to mount a small disk',
  }, async () => {
    const folder = mkdtempSync(path.join(tmpdir(), 'snapshot-'))
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=400k,mode=700', 'tmpfs', folder])
    const slapd = await startSlapd({
      entries: Array.from({ length: 20_000 }, (_, i) => `user${i}@example.com`),
    })
    const list = testList(
      { url: [serverUrl(slapd.url)], base: [slapd.base] },
      { mode: 'snapshot' },
      // Seldom enough that the list stays current on any machine, and each answer is its own.
      { file: path.join(folder, 'list'), changes_every: 20_000, full_every: 5000 },
    )
    const said = (words: RegExp) => list.log.lines.filter((line) => words.test(line)).length
    try {
      list.start()
      await until(() => isCurrent(list))
      await until(() => said(/the list cannot be written .* ENOSPC/) > 0)
      for (let n = 0; n < 5; n++) {
        await slapd.add(`new${n}@example.com`)
        await list.becomes(`new${n}@example.com`, 'found')
        assert.ok(isCurrent(list))
        await sleep(CHANGES_EVERY)
      }
      assert.equal(said(/the list is in force/), 1)
      execFileSync('mount', ['-o', 'remount,size=2m,mode=700', folder])
      await until(() => said(/the list is in force/) > 1)
      await slapd.add('later@example.com')
      await list.becomes('later@example.com', 'found')
    } finally {
      await list.close()
      await slapd.stop()
      execFileSync('umount', ['-l', folder])
      rmSync(folder, { recursive: true })
    }
  })

  test('the first server is away for a while: then the list is read from it again', async () => {
    const folder = mkdtempSync(path.join(tmpdir(), 'snapshot-'))
    const first = await startSlapd({ entries: [...STAYS, 'new@example.com'] })
    const second = await startSlapd({ entries: STAYS })
    const list = testList(
      { ...TIMES, url: [serverUrl(first.url), serverUrl(second.url)] },
      { mode: 'snapshot' },
      { file: path.join(folder, 'list'), changes_every: CHANGES_EVERY },
    )
    const readings = (server: Slapd) =>
      list.log.lines.filter((line) => line.includes(`${server.url}: the whole list`)).length
    try {
      list.start()
      await list.becomes('new@example.com', 'found')
      await first.kill()
      await list.becomes('new@example.com', 'absent')
      await first.restart()
      await list.becomes('new@example.com', 'found', 10 * CHANGES_EVERY)
      await sleep(3 * CHANGES_EVERY)
      assert.deepEqual([readings(first), readings(second)], [3, 1])
      await second.kill()
      await first.add('later@example.com')
      await list.becomes('later@example.com', 'found')
    } finally {
      await list.close()
      await Promise.all([first.stop(), second.stop()])
      rmSync(folder, { recursive: true })
    }
  })

  for (const left of [0, 10]) {
    test(`the first server has ${left} entries: the second one is read`, async () => {
      const folder = mkdtempSync(path.join(tmpdir(), 'snapshot-'))
      const [first, second] = [
        await startSlapd({ entries: STAYS }),
        await startSlapd({ entries: STAYS }),
      ]
      const list = testList(
        { ...TIMES, url: [serverUrl(first.url), serverUrl(second.url)] },
        { mode: 'snapshot' },
        { file: path.join(folder, 'list'), changes_every: CHANGES_EVERY },
      )
      try {
        list.start()
        await until(() => isCurrent(list))
        await first.rebuild(STAYS.slice(0, left))
        await list.becomes('nobody@example.com', 'absent', 20_000)
        await second.add('later@example.com')
        await list.becomes('later@example.com', 'found')
        await list.becomes('stays20@example.com', 'found')
        await sleep(3 * CHANGES_EVERY)
        assert.ok(isCurrent(list))
      } finally {
        await list.close()
        await Promise.all([first.stop(), second.stop()])
        rmSync(folder, { recursive: true })
      }
    })
  }

  test('the file is damaged: a process that starts later soon has a new one', async () => {
    const folder = mkdtempSync(path.join(tmpdir(), 'snapshot-'))
    const file = path.join(folder, 'list')
    const slapd = await startSlapd({ entries: STAYS })
    const ldap = { url: [serverUrl(slapd.url)], base: [slapd.base] }
    // With different settings, the lists do not share anything but the file, as in two processes.
    const listFor = (usable_for: number) =>
      testList(ldap, { mode: 'snapshot' }, { file, changes_every: CHANGES_EVERY, usable_for })
    const first = listFor(3_600_000)
    const late = listFor(7_200_000)
    try {
      first.start()
      await until(() => isCurrent(first))
      const { size } = statSync(file)
      await slapd.add('new@example.com')
      await first.becomes('new@example.com', 'found')
      const descriptor = openSync(file, 'r+')
      writeSync(descriptor, '?', size + 36)
      closeSync(descriptor)
      late.start()
      await late.becomes('new@example.com', 'found', 20_000)
      await late.becomes('nobody@example.com', 'absent')
      assert.ok(late.log.lines.some((line) => /^error .* is damaged and was removed/.test(line)))
      assert.equal(first.log.lines.filter((line) => /whole list is read/.test(line)).length, 1)
    } finally {
      await late.close()
      await first.close()
      await slapd.stop()
      rmSync(folder, { recursive: true })
    }
  })

  test('the account may not read addresses any more', async () => {
    const folder = mkdtempSync(path.join(tmpdir(), 'snapshot-'))
    const readers = 'cn=readers,dc=corp,dc=test'
    const group = (member: string) => ({ objectClass: 'groupOfNames', member, sn: undefined })
    const slapd = await startSlapd({
      syncprov: false,
      access: [`access to attrs=mail,proxyAddresses by group.exact="${readers}" read by * none`],
      entries: [...STAYS, { dn: readers, ...group('cn=reader,dc=corp,dc=test') }],
    })
    const list = testList(
      { url: [serverUrl(slapd.url)], bind_dn: slapd.bindDn, bind_password: slapd.password },
      { mode: 'snapshot' },
      { file: path.join(folder, 'list'), changes_every: CHANGES_EVERY },
    )
    try {
      list.start()
      await until(() => isCurrent(list))
      await slapd.modify(readers, { member: 'cn=admin,dc=corp,dc=test' })
      await until(() => {
        assert.equal(list.report().snapshot?.addresses, STAYS.length)
        return list.log.lines.some((line) => /^error .*no recipients at all/.test(line))
      })
      await until(() => !isCurrent(list))
      assert.equal(await list.ask('stays5@example.com'), 'found')
      await slapd.modify(readers, { member: slapd.bindDn })
      await until(() => isCurrent(list))
    } finally {
      await list.close()
      await slapd.stop()
      rmSync(folder, { recursive: true })
    }
  })
})

// One process keeps all lists of this test file. Another one is started only while no other test runs.
test('more and more is deleted, and the process that keeps the list is another one', {
  skip: skipWithout('slapd', 'slapadd', 'ldapmodify'),
}, async () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'snapshot-'))
  const many = Array.from({ length: 600 }, (_, i) => `person${i}@example.com`)
  const slapd = await startSlapd({ entries: many })
  const ldap = { url: [serverUrl(slapd.url)], base: [slapd.base] }
  const snapshot = { file: path.join(folder, 'list'), changes_every: CHANGES_EVERY }
  const open = () => testList(ldap, { mode: 'snapshot' }, snapshot)
  const remove = (from: number, to: number) =>
    slapd.delete(...many.slice(from, to).map((address) => slapd.dnOf(address)))
  const lists = [open()]
  const isRefused = (list: TestList) =>
    until(() => list.log.lines.some((line) => /not read: .*where there were 600/.test(line)))
  try {
    const [first] = lists as [TestList]
    first.start()
    await until(() => isCurrent(first))
    await remove(0, 100)
    await first.becomes('person50@example.com', 'absent')
    await remove(100, 200)
    await isRefused(first)
    await first.close()
    const next = open()
    lists.push(next)
    next.start()
    await isRefused(next)
    assert.equal(await next.ask('person599@example.com'), 'found')
    const { addresses = 0 } = next.report().snapshot ?? {}
    assert.ok(addresses >= 480, `${addresses} recipients are in force`)
    await slapd.add('new@example.com', ...many.slice(0, 100))
    await until(() => isCurrent(next))
    assert.equal(await next.ask('person150@example.com'), 'absent')
  } finally {
    for (const list of lists) await list.close()
    await slapd.stop()
    rmSync(folder, { recursive: true })
  }
})

describe('a domain controller', { skip: ACTIVE_DIRECTORY.skip }, () => {
  const contact = (name: string) => ({
    name,
    kind: 'contact' as const,
    attributes: { proxyAddresses: `SMTP:${name}@example.com` },
  })
  let first: TestDirectory
  let other: TestDirectory
  before(async () => {
    const names = STAYS.map((address) => address.slice(0, address.indexOf('@')))
    ;[first, other] = await Promise.all([ACTIVE_DIRECTORY.start(), ACTIVE_DIRECTORY.start()])
    // Its change numbers are ahead of the first one's.
    await other.add(...names.map(contact), contact('new'))
    await other.modify(contact('new'), { description: 'changed' })
    await first.add(...names.map(contact), contact('old'))
  })
  after(() => Promise.all([first?.stop(), other?.stop()]))

  async function withList(
    run: (list: TestList, proxy: TcpProxy) => Promise<void>,
    onRequest: (bytes: Buffer) => void = () => {},
  ): Promise<void> {
    const folder = mkdtempSync(path.join(tmpdir(), 'snapshot-'))
    const proxy = await startTcpProxy(389, { host: hostOf(first), onRequest })
    const { bind_dn, bind_password, base } = first.settings()
    const list = listBehind(proxy, folder, { bind_dn, bind_password, base })
    try {
      list.start()
      await until(() => isCurrent(list))
      assert.equal(list.report().snapshot?.feed, 'dirsync')
      await run(list, proxy)
    } finally {
      await list.close()
      await proxy.stop()
      rmSync(folder, { recursive: true })
    }
  }

  /** How a search with a cookie (`MSDS…`) is changed into one that the server does not accept. */
  const spoilt: readonly [what: string, word: string, instead: string, isLost: boolean][] = [
    ['cannot read the cookie any more, and begins again', 'MSDS', '????', false],
    ['refuses the cookie', DIRSYNC, DIRSYNC.replace(/.$/, '9'), true],
  ]
  for (const [what, word, instead, isLost] of spoilt) {
    test(what, () => {
      let times = 0
      const spoil = (bytes: Buffer) => {
        if (times !== 1 || !bytes.includes('MSDS')) return
        times++
        bytes.write(instead, bytes.indexOf(word), 'latin1')
      }
      return withList(async (list) => {
        const asking = keepAsking(list, 'stays5@example.com')
        times = 1
        await first.add(contact(`meanwhile${isLost}`))
        await until(() => times > 1)
        await list.becomes(`meanwhile${isLost}@example.com`, 'found')
        await list.becomes('nobody@example.com', 'absent')
        assert.deepEqual(await asking.stop(), ['found'])
        const isSaid = () =>
          list.log.lines.some((line) => /changes are no longer followed/.test(line))
        if (isLost) await until(isSaid)
        else assert.ok(!isSaid())
      }, spoil)
    })
  }

  test('is replaced by another one, with other change numbers and other objects of the same names', () =>
    withList(async (list, proxy) => {
      await list.becomes('new@example.com', 'absent')
      const asking = keepAsking(list, 'stays3@example.com')
      proxy.redirect(389, hostOf(other))
      proxy.drop('reset')
      await list.becomes('new@example.com', 'found')
      await list.becomes('old@example.com', 'absent')
      assert.deepEqual(await asking.stop(), ['found'])
      await other.add(contact('later'))
      await list.becomes('later@example.com', 'found')
    }))
})

function hostOf(directory: TestDirectory): string {
  return directory.settings().url?.[0]?.host ?? ''
}
