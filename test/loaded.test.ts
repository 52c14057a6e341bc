// What a server loads at its start: what mail needs. It is paid by each process, and makes the heap larger.
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import path from 'node:path'
import { test } from 'node:test'
import { REPOSITORY } from './support/haraka'

const PLUGIN = path.join(REPOSITORY, 'dist', 'plugins', 'gal-relay.js')

test('neither metrics, pages, the list in memory nor what waits after failures is loaded', () => {
  const script = `require(${JSON.stringify(PLUGIN)})
process.stdout.write(Object.keys(require.cache).join('\\n'))`
  const env = { ...process.env, NODE_TEST_CONTEXT: undefined }
  const loaded = execFileSync(process.execPath, ['-e', script], { env, encoding: 'utf8' })
    .split('\n')
    .map((file) => path.relative(REPOSITORY, file))
  assert.ok(loaded.includes('dist/plugins/gal-relay/gal/live.js'), loaded.join('\n'))
  const needless =
    /node_modules\/(prom-client|@opentelemetry|ldapjs|cockatiel)\/|gal\/snapshot\/(keeper|syncer|membership)|report\/(metrics|explain)\.|status\/\w+-page\.js/
  assert.deepEqual(
    loaded.filter((file) => needless.test(file) && !file.endsWith('status-page.js')),
    [],
  )
})
