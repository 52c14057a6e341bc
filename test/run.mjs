// `npm test`: runs the compiled tests with Node's own test runner, six files at a time, since many of them
// mostly wait. `npm test -- vectors` runs the files whose path contains that word. If CI=true, a skipped
// test is a failure, so that a green run means that everything ran.
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { run } from 'node:test'
import { spec as Spec } from 'node:test/reporters'
import { fileURLToPath } from 'node:url'

// Without this limit, a file whose servers outlive a failure would never end.
const FIVE_MINUTES = 300_000
const SUMMARY = /^(tests|suites|pass|fail|cancelled|skipped|todo|duration_ms) /

// The longest files: one of them running alone at the end would leave half of the machine idle. Files that
// keep it busy and files that mostly wait take turns.
const FIRST = [
  'faults',
  'snapshot-cluster',
  'bench',
  'fleet/share-workers',
  'fleet/share',
  'failures',
  'gal/snapshot/feed-lost',
  'delivery/company',
  'delivery/moving-mailboxes',
  'docs',
  'fleet/resumed-reader',
  'harvest/dictionary',
  'reload',
  'gal/snapshot/killed',
  'gal/bulkheads',
  'gal/shown-later',
  'delivery/kills',
  'edge/outages',
  'gal/snapshot/changes',
  'gal/snapshot/ds389',
  'mailbox-routing',
  'harvest/servers',
  'page/status-page.browser',
  'edge/interleavings',
  'gal/results',
  'edge/pieces',
  'gal/snapshot/keeper-choice',
  'leaving',
  'gal/faults',
  'gal/ds389-backends',
  'gal/snapshot/mailbox-moves',
  'many-directories',
  'edge/stopped',
  'faults/leaks',
  'directories',
  'cli/replay',
  'report/observation',
  'drop-in',
  'readme',
]
function placeOf(file) {
  const place = FIRST.indexOf(file.slice(0, -'.test.js'.length))
  return place < 0 ? FIRST.length : place
}

const folder = fileURLToPath(new URL('../dist/test', import.meta.url))
const words = process.argv.slice(2)
const files = readdirSync(folder, { recursive: true })
  .filter((file) => file.endsWith('.test.js'))
  .filter((file) => words.length === 0 || words.some((word) => file.includes(word)))
  .sort((a, b) => placeOf(a) - placeOf(b) || a.localeCompare(b))
  .map((file) => path.join(folder, file))
if (files.length === 0) {
  console.error(`no test file in dist/test has ${words.join(' or ')} in its path`)
  process.exit(1)
}

// For what is made once and shared by the test files.
process.env.TEST_RUN_FOLDER = mkdtempSync(path.join(tmpdir(), 'gal-relay-tests-'))
process.on('exit', () => rmSync(process.env.TEST_RUN_FOLDER, { recursive: true, force: true }))

const summary = []
const skipped = []
const tests = run({ files, concurrency: 6, timeout: FIVE_MINUTES })
tests.on('test:fail', () => {
  process.exitCode = 1
})
tests.on('test:pass', ({ name, skip }) => {
  if (skip !== undefined) skipped.push(name)
})
tests.on('test:diagnostic', ({ message }) => {
  if (SUMMARY.test(message)) summary.push(`ℹ ${message}`)
})
tests.compose(new Spec()).pipe(process.stdout)

// The reporter prints failures after the summary, so the summary is printed once more at the end.
process.on('exit', () => {
  if (process.env.CI === 'true' && skipped.length > 0) {
    process.exitCode = 1
    console.log(`\nSkipped, which counts as failed where CI=true:\n  ${skipped.join('\n  ')}`)
  }
  if (process.exitCode) console.log(`\n${summary.join('\n')}`)
})
