// What a server loads at its start: what mail needs. It is paid by each process, and makes the heap larger.
// So it is with the process that reads the list, and the gal-relay command.
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import path from 'node:path'
import { test } from 'node:test'
import { REPOSITORY } from './support/haraka'

const PROGRAMS = path.join(REPOSITORY, 'dist', 'plugins')

/** @returns the files that it loads, seen from the checkout */
function loadedBy(program: string): string[] {
  const script = `require(${JSON.stringify(path.join(PROGRAMS, program))})
process.stdout.write(Object.keys(require.cache).join('\\n'))
process.exit()`
  const env = { ...process.env, NODE_TEST_CONTEXT: undefined }
  return execFileSync(process.execPath, ['-e', script], { env, encoding: 'utf8' })
    .split('\n')
    .map((file) => path.relative(REPOSITORY, file))
}

test('neither metrics, pages, the list in memory nor what waits after failures is loaded', () => {
  const loaded = loadedBy('gal-relay.js')
  assert.ok(loaded.includes('dist/plugins/gal-relay/gal/live.js'), loaded.join('\n'))
  const needless =
    /node_modules\/(prom-client|@opentelemetry|ldapjs|cockatiel)\/|gal\/snapshot\/(keeper|syncer|membership)|report\/(metrics|explain)\.|status\/\w+-page\.js/
  assert.deepEqual(
    loaded.filter((file) => needless.test(file) && !file.endsWith('status-page.js')),
    [],
  )
})

// The client of Redis is as much as all the rest.
for (const [program, needed] of [
  ['gal-relay/gal/snapshot/sync-process.js', 'gal/snapshot/syncer.js'],
  ['gal-relay/cli/program.js', 'cli/check.js'],
] as const) {
  test(`${program} loads what Redis needs where there is one`, () => {
    const loaded = loadedBy(program)
    assert.ok(loaded.includes(`dist/plugins/gal-relay/${needed}`), loaded.join('\n'))
    const needless = /node_modules\/(@redis|rate-limiter-flexible|prom-client)\//
    assert.deepEqual(
      loaded.filter((file) => needless.test(file)),
      [],
    )
  })
}
