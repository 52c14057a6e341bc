// A kind of route, or a rule, that has no line in its table does not compile.
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { describe, it } from 'node:test'
import { counts, KINDS, pathsOf, ROW_KINDS } from '../../plugins/gal-relay/routing/kinds'
import { REPOSITORY } from '../support/haraka'

const typescript = path.dirname(createRequire(__filename).resolve('typescript/package.json'))

/** @returns what the compiler says of routing/ when one file is changed so; '' when nothing */
function errorsWith(name: string, from: string, to: string): string {
  const folder = mkdtempSync(path.join(tmpdir(), 'kinds-'))
  try {
    cpSync(path.join(REPOSITORY, 'plugins', 'gal-relay', 'routing'), path.join(folder, 'routing'), {
      recursive: true,
    })
    symlinkSync(path.join(REPOSITORY, 'node_modules'), path.join(folder, 'node_modules'))
    const config = {
      extends: path.join(REPOSITORY, 'tsconfig.json'),
      include: ['routing'],
      compilerOptions: { noEmit: true, rootDir: '.' },
    }
    writeFileSync(path.join(folder, 'tsconfig.json'), JSON.stringify(config))
    const file = path.join(folder, 'routing', name)
    const text = readFileSync(file, 'utf8')
    assert.ok(text.includes(from), `${name} has ${from}`)
    writeFileSync(file, text.replace(from, to))
    const compiler = path.join(typescript, 'bin', 'tsc')
    const { stdout } = spawnSync(process.execPath, [compiler, '-p', folder], { encoding: 'utf8' })
    return stdout
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

describe('the tables of kinds and rules', () => {
  it('have a line for each, or do not compile', () => {
    assert.equal(errorsWith('kinds.ts', '', ''), '')
    const kind = errorsWith(
      'kinds.ts',
      "RouteKind = 'inbound'",
      "RouteKind = 'quarantine' | 'inbound'",
    )
    assert.match(kind, /'quarantine' is missing/)
    const row = errorsWith(
      'kinds.ts',
      "ReferringKind = 'reroute'",
      "ReferringKind = 'bounce' | 'reroute'",
    )
    assert.match(row, /'?bounce'? is missing/)
    const rule = errorsWith('rules.ts', "  | 'postmaster'", "  | 'greylisted'\n  | 'postmaster'")
    assert.match(rule, /greylisted/)
  })

  it('say what can be written, what counts and which way it goes', () => {
    assert.deepEqual([...ROW_KINDS].sort(), [
      'accept',
      'always-relay',
      'forward',
      'inbound',
      'refuse',
      'reroute',
      'shared',
    ])
    assert.deepEqual(ROW_KINDS.filter((one) => counts(one, { reroute: false })).sort(), [
      'accept',
      'inbound',
      'refuse',
    ])
    assert.deepEqual(pathsOf('inbound', []), ['queue'])
    assert.deepEqual(pathsOf('accept', [{}]), ['outbound'])
    assert.deepEqual(pathsOf('shared', [{}]), ['queue', 'outbound'])
    assert.deepEqual(pathsOf('always-relay', []), ['outbound'])
    // An open relay would begin here.
    for (const kind of ['forward', 'foreign'] as const) {
      assert.equal(KINDS[kind].senders, 'who-may-relay')
    }
  })
})
