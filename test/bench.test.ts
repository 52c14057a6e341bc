// The bench still works: `--try` runs a little of everything. Its figures mean nothing.
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import path from 'node:path'
import { describe, test } from 'node:test'
import { promisify } from 'node:util'
import { skipWithout } from './support/programs'

const RUN = path.join(__dirname, '..', 'bench', 'run.js')

async function bench(...args: string[]): Promise<string> {
  const { stdout } = await promisify(execFile)(process.execPath, [RUN, ...args, '--try'])
  return stdout
}

/** @returns the rows of the tables by their first cells, which may contain single spaces */
function rows(output: string): Map<string, string[]> {
  const cells = output.split('\n').map((line) => line.trim().split(/ {2,}/))
  return new Map(cells.map(([name = '', ...others]) => [name, others]))
}

// Some parts mostly wait.
describe('npm run bench', { concurrency: 2 }, () => {
  test('a recipient, in each mode', { skip: skipWithout('slapd') }, async () => {
    const table = rows(await bench('rcpt'))
    const modes = ['live, cold', 'live, warm', 'live, cold, 4 ms away', 'live, warm, 4 ms away']
    for (const mode of ['a JavaScript Set', ...modes, 'snapshot']) {
      const [rate, , cpu, , , , wrong] = table.get(mode) ?? []
      assert.ok(Number(rate) > 0 && Number(cpu) > 0, `${mode}: ${table.get(mode)}`)
      assert.equal(wrong, '0', mode)
    }
    assert.match(table.get('metrics and log')?.join() ?? '', /^-?[\d.]+,-?[\d.]+ %$/)
  })

  test('a message', { skip: skipWithout('slapd') }, async () => {
    const table = rows(await bench('message'))
    const kinds = ['one message a connection', 'ten messages a connection']
    for (const kind of [...kinds, 'ten, with 50 recipients each']) {
      const [set, plugin, times, , , wrong] = table.get(kind) ?? []
      assert.ok(Number(set) > 0 && Number(plugin) > 0 && Number(times) > 0, kind)
      assert.equal(wrong, '0', kind)
    }
  })

  test('mailboxes on several servers', { skip: skipWithout('slapd') }, async () => {
    const table = rows(await bench('mailboxes'))
    for (const state of ['warm', 'cold']) {
      const [cpu, times, , , wrong] = table.get(`live, ${state}, by server`) ?? []
      assert.ok(Number(cpu) > 0 && Number(times) > 0, state)
      assert.equal(wrong, '0', state)
    }
  })

  test('memory and decisions', async () => {
    const memory = rows(await bench('memory'))
    assert.ok(Number(memory.get('1,000')?.[0]) > 10, [...memory].join('\n'))
    const decision = rows(await bench('decision'))
    assert.ok(Number(decision.get('100 routes')?.[1]) > 0, [...decision].join('\n'))
  })

  test('a reload', async () => {
    const table = rows(await bench('reload'))
    const [, , , , took] = table.get('100') ?? []
    assert.ok(Number(took) > 0, [...table].join('\n'))
  })

  test('directories', { skip: skipWithout('slapd') }, async () => {
    const table = rows(await bench('directories'))
    for (const row of ['1 directory', '10 directories', '20 directories']) {
      const [cpu, times, , wrong] = table.get(`${row}, warm`) ?? []
      assert.ok(Number(cpu) > 0 && Number(times) > 0, `${row}: ${[...table].join('\n')}`)
      assert.equal(wrong, '0', row)
    }
    for (const row of ['live, 1', 'live, 20']) assert.ok(Number(table.get(row)?.[0]) > 0, row)
    assert.equal(table.get('live, cold')?.[3], '0')
  })

  test('a dictionary run', { skip: skipWithout('slapd', 'redis-server') }, async () => {
    const output = await bench('harvest', 'dictionary')
    const runs = output.split('\n').filter((line) => /made-up names/.test(line))
    assert.equal(runs.length, 2, output)
    for (const run of runs) {
      const [, found, unknown, heldOff] = run.trim().split(/ {2,}/)
      assert.equal(found, '0')
      assert.equal(Number(unknown) + Number(heldOff), 200, output)
      assert.ok(Number(heldOff) > 0, output)
    }
  })

  test('a list that goes to gateways', { skip: skipWithout('slapd', 'redis-server') }, async () => {
    const table = rows(await bench('publish'))
    for (const row of ['a change', '200 recipients', 'restarted alone: 250 recip']) {
      assert.ok(Number(table.get(row)?.[0]) >= 0, row)
    }
  })

  test('a part that does not exist', async () => {
    await assert.rejects(bench('rctp'), (error: { code?: number; stderr?: string }) => {
      assert.equal(error.code, 2)
      assert.match(error.stderr ?? '', /rcpt .*Postfix/)
      return true
    })
  })
})
