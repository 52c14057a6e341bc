// One server of a directory is set up without an attribute that the other one has: it finds nobody by it,
// and says so of nobody.
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, before, describe, test } from 'node:test'
import { probeDirectory } from '../../plugins/gal-relay/gal/directory/probe'
import { skipWithout } from '../support/programs'
import { type Slapd, startSlapd } from '../support/slapd'
import { until } from '../support/until'
import { GAL, LDAP, serverUrl, testList } from './lists'

const NAMES = ['ann', 'bob', 'cas', 'dee']
const entries = (aliases: Readonly<Record<string, string>>) =>
  NAMES.map((name) => ({
    dn: `cn=${name},dc=corp,dc=test`,
    mail: `${name}@example.com`,
    proxyAddresses: aliases[name],
  }))

describe('a replica without an attribute', { skip: skipWithout('slapd', 'slapadd') }, () => {
  let whole: Slapd
  let part: Slapd
  before(async () => {
    whole = await startSlapd({ entries: entries({ ann: 'smtp:alias@example.com' }) })
    part = await startSlapd({ entries: entries({}) })
  })
  after(() => Promise.all([whole?.stop(), part?.stop()]))

  const access = () => ({
    url: [serverUrl(whole.url), serverUrl(part.url)],
    bind_dn: whole.bindDn,
    bind_password: whole.password,
    retry_after: { least: 200, most: 500 },
  })

  for (const mode of ['live', 'snapshot'] as const) {
    test(`${mode}: nobody is absent while it is the only one`, async () => {
      const folder = mkdtempSync(path.join(tmpdir(), 'replica-'))
      const list = testList(
        access(),
        { mode },
        { file: path.join(folder, 'list'), changes_every: 1000, shrink_limit: 0.9 },
      )
      const readFrom = () => list.report().snapshot?.sync?.server
      try {
        list.start()
        await list.becomes('alias@example.com', 'found')
        await list.becomes('nobody@example.com', 'absent')
        const up = () => list.report().servers.map(({ state }) => state)
        await until(() => up().every((state) => state === 'up'))
        await whole.kill()
        if (mode === 'snapshot') await until(() => readFrom() === part.url)
        await until(async () => (await list.ask('ann@example.com')) === 'found')
        for (let i = 0; i < 20; i++) {
          assert.notEqual(await list.ask('alias@example.com'), 'absent')
          assert.equal(await list.ask(`nobody${i}@example.com`), 'unavailable')
        }
        const said = list.log.lines.filter((line) =>
          /warn .*proxyAddresses: entries have it on .*, and none has it on/.test(line),
        )
        assert.ok(said.length > 0, list.log.lines.join('\n'))
        await whole.restart()
        await list.becomes('alias@example.com', 'found')
        await list.becomes('nobody@example.com', 'absent')
      } finally {
        await list.close()
        rmSync(folder, { recursive: true, force: true })
      }
    })
  }

  test('check says so of the one that lacks it', async () => {
    const servers = await probeDirectory(GAL, { ...LDAP, ...access() })
    const problems = servers.map(({ findings }) =>
      findings.filter(({ level }) => level === 'problem').map(({ text }) => text),
    )
    const text =
      `proxyAddresses: entries have it on ${whole.url}, and none has it on ${part.url}: ` +
      'is that a partial replica?; unknown recipients are deferred'
    assert.deepEqual(problems, [[], [text]])
  })
})
