// The rulebook's cases for several directories and for mail that goes where the directory says, live and
// from lists in memory. Each is put to a real Haraka, and to the command, which must say the same.
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import type { Explanation } from '../plugins/gal-relay/advice/explain'
import { loadCommand } from './support/command'
import type { Haraka } from './support/haraka'
import { freePort } from './support/ports'
import { skipWithout } from './support/programs'
import { sharedHaraka } from './support/shared-haraka'
import { type Slapd, startSlapd } from './support/slapd'
import { until } from './support/until'
import { askCase } from './support/vector-suite'
import {
  allEntriesOf,
  type Case,
  directoryScenarios,
  PASSWORDS,
  type Scenario,
  unitOf,
  unitOfDirectory,
} from './support/vectors'

const skip = skipWithout('slapd', 'slapadd')

const command = loadCommand()

let slapd: Slapd
const shared = sharedHaraka({ auth: PASSWORDS })
before(async () => {
  if (!skip) slapd = await startSlapd({ entries: directoryScenarios.flatMap(allEntriesOf) })
})
after(async () => {
  await shared.stop()
  await slapd?.stop()
})

for (const mode of ['live', 'snapshot'] as const) {
  describe(`directories.json and edges.json, mode = ${mode}`, { skip }, () => {
    directoryScenarios.forEach((scenario, index) => {
      test(`${scenario.name} (${scenario.source})`, async () => {
        const ini = await iniOf(scenario, index, slapd.url, mode)
        await shared.with(ini, scenario.host_list, async (haraka) => {
          if (mode === 'snapshot') await listsInForce(haraka, scenario)
          for (const round of ['first', 'second']) {
            const wrong = []
            for (const one of scenario.cases) wrong.push(...(await askCase(haraka.port, one)))
            assert.deepEqual(wrong, [], `${round} round`)
          }
          assert.deepEqual(await explained(haraka, scenario), [])
        })
      })
    })
  })
}

/** @returns the scenario's settings with servers and bases, and all directories in this mode */
async function iniOf(
  scenario: Scenario,
  index: number,
  url: string,
  mode: 'live' | 'snapshot',
): Promise<string> {
  const { directories = {}, ldap = true } = scenario
  let ini = scenario.ini
  for (const [name, { down }] of Object.entries(directories)) {
    const server = down ? `ldap://127.0.0.1:${await freePort()}` : url
    const heading = `[directory ${name}]`
    assert.ok(ini.includes(heading))
    const lines = [heading, `url[] = ${server}`, `base = ${unitOfDirectory(index, name)}`, '']
    ini = ini.replace(`${heading}\n`, lines.join('\n'))
  }
  // A section may appear twice, so that keys can be added at the end.
  const base = ldap ? `[ldap]\nurl[] = ${url}\nbase = ${unitOf(index)}\n` : ''
  const gal = ini.includes('[gal]\n')
    ? ini.replace('[gal]\n', `[gal]\nmode = ${mode}\n`)
    : `${ini}\n[gal]\nmode = ${mode}\n`
  return `${gal}\n${base}`
}

/** Waits until every list that can be read is in force. */
function listsInForce(haraka: Haraka, { directories = {}, ldap = true }: Scenario): Promise<void> {
  const up = Object.values(directories).filter(({ down }) => !down).length + (ldap ? 1 : 0)
  return until(() => haraka.logLines(/the list is in force/).length >= up)
}

/** @returns a line for each answer of `gal-relay explain --json` that differs */
async function explained(haraka: Haraka, { cases }: Scenario): Promise<string[]> {
  const wrong: string[] = []
  for (const one of cases) {
    const { client, local, auth } = one
    const { json } = await command.runJson<{ recipients: readonly Explanation[] }>([
      ...['explain', '--config', haraka.dir, '--client', client, '--listener', local],
      ...(auth ? ['--auth', auth] : []),
      '--',
      ...[one.to].flat(),
    ])
    const [explanation] = json.recipients
    assert.ok(explanation)
    for (const [key, expected] of Object.entries(expectedOf(one))) {
      const said = saidBy(explanation, key)
      if (JSON.stringify(said) === JSON.stringify(expected)) continue
      wrong.push(`${one.to} ${key}: ${JSON.stringify(said)}, not ${JSON.stringify(expected)}`)
    }
  }
  return wrong
}

function expectedOf({ reply, path, next_hops, delivered_as, directory }: Case) {
  const all = {
    code: Number([reply].flat()[0]?.slice(0, 3)),
    path,
    next_hops,
    delivered_as,
    directory,
  }
  return Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined))
}

/** @returns the explanation's value; next hops with the port, even if it is the default */
function saidBy(explanation: Explanation, key: string): unknown {
  if (key !== 'next_hops') return explanation[key as keyof Explanation]
  return explanation.next_hops.map((hop) => (/:\d+$/.test(hop) ? hop : `${hop}:25`))
}
