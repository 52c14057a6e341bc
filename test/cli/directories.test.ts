// The gal-relay command where there are several directories: each is named, and none gets in the way of
// another.
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, before, describe, test } from 'node:test'
import type { Explanation } from '../../plugins/gal-relay/advice/explain'
import { loadCommand } from '../support/command'
import { writeInstall } from '../support/haraka'
import { freePort } from '../support/ports'
import { skipWithout } from '../support/programs'
import { writeQueueFile } from '../support/queue-file'
import { type Slapd, type SlapdEntry, startSlapd, unitEntry } from '../support/slapd'

const { runCommand, runJson } = loadCommand()

const BASE = 'dc=corp,dc=test'
const unit = (ou: string) => unitEntry(`ou=${ou},${BASE}`)
const person = (ou: string, mail: string, more: Record<string, string> = {}): SlapdEntry => ({
  dn: `uid=${mail.replace('@', '-')},ou=${ou},${BASE}`,
  mail,
  ...more,
})

const ENTRIES: readonly SlapdEntry[] = [
  ...['alpha', 'east', 'west'].map(unit),
  person('alpha', 'ann@alpha.example'),
  person('alpha', 'block@alpha.example'),
  person('east', 'ann@merged.example'),
  person('east', 'both@merged.example', { mailHost: 'EX01' }),
  person('east', 'moved@merged.example', {
    mailHost: 'EX01',
    mailRoutingAddress: 'm@cloud.example',
  }),
  person('east', 'cloud@merged.example', { mailRoutingAddress: 'c@cloud.example' }),
  person('east', 'here@merged.example', { mailHost: 'Here' }),
  person('east', 'lost@merged.example', { mailHost: 'no such host!' }),
  person('west', 'both@merged.example', { mailHost: 'EX01' }),
  person('west', 'will@merged.example'),
  person('west', 'wanda@merged.example'),
]

describe('several directories', { skip: skipWithout('slapd', 'slapadd') }, () => {
  let slapd: Slapd
  let root: string
  before(async () => {
    slapd = await startSlapd({ entries: ENTRIES })
    root = mkdtempSync(path.join(tmpdir(), 'install-'))
  })
  after(async () => {
    await slapd?.stop()
    rmSync(root, { recursive: true, force: true })
  })

  /** @param west more lines of that directory, or another server */
  function configure(general = '', west = '', westUrl = slapd.url): void {
    const directory = (name: string, url = slapd.url) =>
      `[directory ${name}]\ndomains[] = merged.example\nurl[] = ${url}\nbase = ou=${name},${BASE}\n`
    const ini = `[routes]
alpha.example = inbound
merged.example = inbound
block@alpha.example = accept
gone@merged.example = refuse
[hosts]
ex01 = smtp://127.0.0.8:2525
here = local
[ldap]
url[] = ${slapd.url}
base = ou=alpha,${BASE}
${directory('east')}host_attribute = mailHost
routing_attribute = mailRoutingAddress
${directory('west', westUrl)}${west}
${general}`
    writeInstall(root, [25], { ini })
  }
  const SNAPSHOT = '[gal]\nmode = snapshot\n'
  const run = (...args: string[]) => runCommand([...args, '--config', root])
  const json = <T>(...args: string[]) => runJson<T>([...args, '--config', root])

  describe('lookup', () => {
    interface Looked {
      readonly found: boolean | null
      readonly live: { readonly state: string }
      readonly directories: readonly {
        readonly directory: string
        readonly live: { readonly state: string; readonly entries: readonly { dn: string }[] }
        readonly snapshot: { readonly state: string } | null
      }[]
    }
    const states = ({ directories }: Looked) =>
      directories.map(({ directory, live }) => `${directory} ${live.state}`)

    test('asks those of the domain, and says which has it', async () => {
      configure()
      const will = await json<Looked>('lookup', 'will@merged.example')
      assert.equal(will.code, 0)
      assert.equal(will.json.found, true)
      assert.equal(will.json.live.state, 'found')
      assert.deepEqual(states(will.json), ['east absent', 'west found'])
      const both = await json<Looked>('lookup', 'both@merged.example')
      assert.deepEqual(states(both.json), ['east found', 'west found'])
      const ann = await json<Looked>('lookup', 'ann@alpha.example')
      assert.deepEqual(states(ann.json), ['default found'])
      const { stdout } = await run('lookup', 'will@merged.example')
      assert.match(
        stdout,
        /^directory east\nwill@merged\.example is not in the directory\n(?: .*\n)+directory west\nwill@merged\.example is in the directory\n/,
      )
    })

    test('one that cannot be asked makes nobody unknown', async () => {
      configure('', '', `ldap://127.0.0.1:${await freePort()}`)
      const none = await json<Looked>('lookup', 'nobody@merged.example')
      assert.equal(none.code, 2)
      assert.equal(none.json.found, null)
      assert.deepEqual(states(none.json), ['east absent', 'west unavailable'])
      const ann = await json<Looked>('lookup', 'ann@merged.example')
      assert.equal(ann.code, 0)
      assert.equal(ann.json.found, true)
    })

    test('a domain that no directory has', async () => {
      writeInstall(root, [25], {
        ini: `[directory one]\ndomains[] = one.example\nurl[] = ${slapd.url}\nbase = ${BASE}\n`,
      })
      const { code, stderr } = await run('lookup', 'a@other.example')
      assert.equal(code, 2)
      assert.match(
        stderr,
        /^no directory is named for other\.example: put it into domains\[\] of a \[directory NAME\]\n/,
      )
    })
  })

  describe('sync', () => {
    interface Synced {
      readonly directories: readonly {
        readonly directory: string
        readonly recipients?: number
        readonly file?: string
        readonly error?: string
      }[]
    }

    test('reads all lists, one after the other, or one', async () => {
      configure(SNAPSHOT)
      const all = await json<Synced>('sync')
      assert.equal(all.code, 0)
      assert.deepEqual(
        all.json.directories.map(({ directory, recipients }) => [directory, recipients]),
        [
          ['default', 2],
          ['east', 6],
          ['west', 3],
        ],
      )
      assert.deepEqual(
        all.json.directories.map(({ file = '' }) => path.basename(file)),
        ['gal_relay.snapshot', 'gal_relay.east.snapshot', 'gal_relay.west.snapshot'],
      )
      const { stdout } = await run('sync')
      assert.match(
        stdout,
        /^default: 2 recipients in force\n(?: .*\n)+east: 6 recipients in force\n(?: .*\n)+west: 3 recipients in force\n/,
      )
      const one = await json<{ directory: string; recipients: number }>(
        'sync',
        '--directory',
        'east',
      )
      assert.deepEqual([one.json.directory, one.json.recipients], ['east', 6])
      const { code, stderr } = await run('sync', '--directory', 'north')
      assert.equal(code, 2)
      assert.equal(stderr, 'there is no directory north; there is default, east, west\n')
    })

    test('leaves out those that keep none', async () => {
      configure(SNAPSHOT, 'mode = live\n')
      const { json: some } = await json<Synced>('sync')
      assert.deepEqual(
        some.directories.map(({ directory }) => directory),
        ['default', 'east'],
      )
      const { code, stderr } = await run('sync', '--directory', 'west')
      assert.equal(code, 2)
      assert.equal(stderr, 'there is no list to read: [directory west] mode is not snapshot\n')
    })

    test('one that fails does not keep the others from being read', async () => {
      configure(SNAPSHOT, '', `ldap://127.0.0.1:${await freePort()}`)
      const away = await json<Synced>('sync')
      assert.equal(away.code, 2)
      const [first, east, west] = away.json.directories
      assert.deepEqual([first?.recipients, east?.recipients, west?.recipients], [2, 6, undefined])
      assert.match(west?.error ?? '', /^the list was not read: .*ECONNREFUSED/)
      const said = await run('sync')
      assert.equal(said.code, 2)
      assert.match(said.stderr, /^west: the list was not read: .*ECONNREFUSED.*\n$/)
      assert.match(said.stdout, /^default: 2 .*^east: 6 /ms)
    })

    test('one whose list is refused: 1, and the others are read', async () => {
      configure(SNAPSHOT)
      await json('sync')
      const gone = ['will@merged.example', 'wanda@merged.example']
      await slapd.delete(...gone.map((address) => slapd.dnOf(address)))
      try {
        const { code, json: refused } = await json<Synced>('sync')
        assert.equal(code, 1)
        const [first, east, west] = refused.directories
        assert.deepEqual([first?.recipients, east?.recipients], [2, 6])
        assert.match(west?.error ?? '', /^the list was refused: .*shrink_limit/)
        const { stderr } = await run('sync')
        assert.match(stderr, /^west: the list was refused: .*\n$/)
      } finally {
        await slapd.add(...gone.map((address) => person('west', address)))
      }
    })
  })

  describe('check', () => {
    interface Checked {
      readonly problems: number
      readonly sections: readonly {
        readonly about: string
        readonly findings: readonly { readonly level: string; readonly text: string }[]
      }[]
    }
    const texts = ({ sections }: Checked, about: RegExp) =>
      sections.filter((one) => about.test(one.about)).flatMap(({ findings }) => findings)

    test('has a section for each server and list of each directory', async () => {
      configure(SNAPSHOT)
      await json('sync')
      const { json: checked } = await json<Checked>('check')
      const about = checked.sections.map((one) => one.about.replace(root, ''))
      assert.deepEqual(about.slice(-6), [
        'snapshot default: /gal_relay.snapshot',
        `directory default: ${slapd.url}`,
        'snapshot east: /gal_relay.east.snapshot',
        `directory east: ${slapd.url}`,
        'snapshot west: /gal_relay.west.snapshot',
        `directory west: ${slapd.url}`,
      ])
      const settings = texts(checked, /^settings/).map(({ text }) => text)
      for (const line of [
        'recipients at merged.example are looked up in directories east and west; one of them must have them',
        'recipients at all other domains are looked up in directory default',
        '[routes] block@alpha.example = accept: directory default has this address too, but is not asked',
        '[routes] gone@merged.example = refuse makes no difference: directory east, west does not have the address',
      ]) {
        assert.ok(settings.includes(line), `${line}\nis not in\n${settings.join('\n')}`)
      }
      assert.ok(
        texts(checked, /^next hops/).some(({ text }) => text === 'smtp://127.0.0.8:2525'),
        'the hops of [hosts]',
      )
    })

    test('says which cannot be asked', async () => {
      configure('', '', `ldap://127.0.0.1:${await freePort()}`)
      const { code, json: checked } = await json<Checked>('check')
      assert.equal(code, 1)
      const problems = (about: RegExp) =>
        texts(checked, about).filter(({ level }) => level === 'problem').length
      assert.ok(problems(/^directory west: ldap:/) > 0)
      assert.equal(problems(/^directory (default|east): ldap:/), 0)
    })

    test('finds two paths that lead to one list', async () => {
      symlinkSync(root, path.join(root, 'link'))
      configure(SNAPSHOT, 'file = ../link/gal_relay.east.snapshot\n')
      const { json: checked } = await json<Checked>('check')
      assert.deepEqual(texts(checked, /^snapshot \/.*gal_relay\.east/), [
        {
          level: 'problem',
          text: 'it is the file of directories east and west; each list needs its own',
        },
      ])
    })
  })

  describe('explain', () => {
    const explain = async (to: string) => {
      const args = ['--client', '203.0.113.9', '--listener', '10.0.0.5:25']
      const { json: all } = await json<{ recipients: Explanation[] }>('explain', to, ...args)
      const [one] = all.recipients
      assert.ok(one)
      const steps = (name: string) =>
        one.steps
          .filter(({ step }) => step === name)
          .map(({ text }) => text.replace(/ \(.*ms\)/, ''))
      return { ...one, asked: steps('directory'), delivery: steps('delivery') }
    }

    test('names the directory that has the recipient, and those that have not', async () => {
      configure()
      assert.deepEqual((await explain('ann@alpha.example')).asked, [
        'ann@alpha.example is in directory default',
      ])
      assert.deepEqual((await explain('will@merged.example')).asked, [
        'will@merged.example is in directory west',
      ])
      assert.deepEqual((await explain('nobody@merged.example')).asked, [
        'nobody@merged.example is not in directories east and west',
      ])
      configure('', '', `ldap://127.0.0.1:${await freePort()}`)
      const [away = ''] = (await explain('nobody@merged.example')).asked
      assert.match(away, /^directories east and west: .*ECONNREFUSED/)
    })

    test('says what the directory says of the mailbox, and what comes of it', async () => {
      configure()
      for (const [name, said, delivery] of [
        [
          'both',
          "its host is 'EX01': it leaves as it was sent, to smtp://127.0.0.8:2525",
          'goes to the outbound queue, for smtp://127.0.0.8:2525',
        ],
        [
          'moved',
          "its host is 'EX01', its routing address is 'm@cloud.example': it leaves by that address, to smtp://127.0.0.8:2525",
          'goes to the outbound queue as m@cloud.example, for smtp://127.0.0.8:2525',
        ],
        [
          'cloud',
          "its routing address is 'c@cloud.example': it leaves by that address, where the row of cloud.example says",
          "goes to the outbound queue as c@cloud.example, for the domain's MX hosts",
        ],
        [
          'here',
          "its host is 'Here': it leaves as it was sent, to the queue plugins",
          "goes to the install's queue plugins",
        ],
        [
          'lost',
          "where its mail goes is not known: its host 'no such host!' is not in [hosts], and is not a host name, IP address or smtp:// URL",
          undefined,
        ],
      ] as const) {
        const { asked, delivery: done, code } = await explain(`${name}@merged.example`)
        assert.equal(asked[1], said)
        assert.deepEqual(done, delivery === undefined ? [] : [delivery])
        assert.equal(code, delivery === undefined ? 451 : 250)
      }
    })
  })

  test('drain lists what waits for the server of a mailbox', async () => {
    configure()
    const hops = ['smtp://127.0.0.8:2525']
    writeQueueFile(root, { domain: 'merged.example', hops, to: ['both'] })
    const { code, json: drained } = await json<{ waiting: { next_hops: string[] }[] }>('drain')
    assert.equal(code, 1)
    assert.deepEqual(
      drained.waiting.map(({ next_hops }) => next_hops),
      [hops],
    )
  })
})
