// `npm run test:releases`: the rulebook's cases and mail that really goes out, on each supported release of
// Haraka and of Node.js, and a table of what held, for docs/releases.md. `npm run test:releases -- 3.1.7 22`
// runs those whose release or Node.js is named; both are installed with npm when they are first needed.
import { readFileSync } from 'node:fs'
import { run } from 'node:test'
import { fileURLToPath } from 'node:url'

const RELEASES = ['3.0.3', '3.0.4', '3.1.1', '3.1.7', '3.2.1', '3.3.1', '3.3.4']
const NODES = ['20', '22', '24']
const TEN_MINUTES = 600_000

const file = fileURLToPath(new URL('../../dist/test/releases/newest.test.js', import.meta.url))
const vectors = new URL('../vectors/ims-routing.json', import.meta.url)
const { scenarios } = JSON.parse(readFileSync(vectors, 'utf8'))
const cases = scenarios.reduce((sum, one) => sum + one.cases.length, 0)

const words = process.argv.slice(2)
const wanted = (all) => {
  const named = all.filter((one) => words.includes(one))
  return named.length > 0 ? named : all
}

const rows = []
for (const node of wanted(NODES)) {
  for (const release of wanted(RELEASES)) rows.push(await row(release, node))
}
console.log(`\n| Haraka | Node.js | rulebook's cases | deliveries |\n| --- | --- | --- | --- |`)
for (const { text } of rows) console.log(text)
if (rows.some(({ holds }) => !holds)) process.exitCode = 1

async function row(release, node) {
  process.env.HARAKA_RELEASE = release
  process.env.HARAKA_NODE = process.versions.node.startsWith(`${node}.`) ? '' : node
  let held = 0
  let scenariosHeld = 0
  let passed = 0
  const failed = []
  const tests = run({ files: [file], timeout: TEN_MINUTES })
  for await (const { type, data } of tests) {
    const isTest = data.details?.type !== 'suite' && data.name !== file
    if (type === 'test:pass' && isTest) passed++
    if (type === 'test:fail' && isTest) failed.push(data)
    const held_ = type === 'test:diagnostic' && /^(\d+) cases$/.exec(data.message)
    if (held_) {
      held += Number(held_[1])
      scenariosHeld++
    }
  }
  for (const { name, details } of failed)
    console.error(`${release} ${node}: ${name}\n`, details.error)
  const deliveries = passed - scenariosHeld
  const text = `| ${release} | ${node} | ${held} of ${cases} | ${deliveries} of ${deliveries + failed.length} |`
  console.log(text)
  return { text, holds: failed.length === 0 && held === cases && deliveries > 0 }
}
