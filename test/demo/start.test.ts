// What `npm start` prints is true: each command to try gets the reply that is printed beside it, and Ctrl-C
// leaves nothing behind. The tests run on free ports, as the default ports may be in use.
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, before, describe, test } from 'node:test'
import { REPOSITORY } from '../support/haraka'
import { freePorts, isFree } from '../support/ports'
import { type Child, startChild } from '../support/processes'
import { findProgram, skipWithout } from '../support/programs'

const START = path.join(REPOSITORY, 'dist', 'demo', 'start.js')

function startDemo(args: readonly (string | number)[], env = {}): Promise<Child> {
  return startChild(process.execPath, [START, ...args.map(String)], { env })
}

/** The commands that the demo prints, with the reply that it prints beside each. */
function printed(output: string): { command: string; reply: string }[] {
  const pairs = output.matchAll(/^ {4}(.+)\n {4}→ (.+)$/gm)
  return Array.from(pairs, ([, command = '', reply = '']) => ({ command, reply }))
}

function shell(command: string, env: NodeJS.ProcessEnv): Promise<string> {
  return new Promise((resolve) => {
    const options = { env: { ...process.env, ...env } }
    // A command may fail: swaks does when the recipient is refused.
    execFile('/bin/sh', ['-c', command], options, (_error, stdout, stderr) =>
      resolve(stdout + stderr),
    )
  })
}

// A PATH without swaks, whatever is installed. Its nc does in Node what `nc HOST PORT` does, and waits until
// the server closes the connection, however long that takes.
const NC = `#!${process.execPath}
const socket = require('node:net').connect(Number(process.argv[3]), process.argv[2])
process.stdin.pipe(socket, { end: false })
socket.pipe(process.stdout)
`
let tools: string
before(() => {
  tools = mkdtempSync(path.join(tmpdir(), 'tools-'))
  writeFileSync(path.join(tools, 'nc'), NC, { mode: 0o755 })
  for (const name of ['sh', 'sleep']) {
    symlinkSync(findProgram(name) ?? `/bin/${name}`, path.join(tools, name))
  }
})
after(() => rmSync(tools, { recursive: true, force: true }))

async function doesAsPrinted(demo: Child, env: NodeJS.ProcessEnv, tool: RegExp): Promise<void> {
  const attempts = printed(demo.output())
  assert.deepEqual(
    attempts.map(({ reply }) => reply.slice(0, 9)),
    ['250 recip', '550 5.1.1', '550 5.7.1', '550 5.7.1']
      // The cloud, the second company twice, and an account that has logged in.
      .concat(['250 recip', '250 recip', '550 5.1.1', '250 recip']),
  )
  const replies = await Promise.all(attempts.map(({ command }) => shell(command, env)))
  for (const [index, { command, reply }] of attempts.entries()) {
    assert.match(command, tool)
    const got = replies[index]?.split(/\r?\n/).map((line) => line.replace(/^<[-~*]+ */, ''))
    assert.ok(got?.includes(reply), `${command}\n${replies[index]}`)
  }
}

async function explainsAsPrinted(demo: Child): Promise<void> {
  const [, command = ''] =
    /^ {4}(node dist\/plugins\/gal-relay\/cli\/main\.js explain .*)$/m.exec(demo.output()) ?? []
  const said = await shell(`cd ${REPOSITORY} && ${command}`, {})
  assert.match(said, /^250 recipient <dora@example\.com> OK$/m)
  assert.match(said, /dora@example\.com is in directory default/)
  assert.match(
    said,
    /its routing address is 'dora@example\.cloud\.example': it leaves by that address/,
  )
  for (const line of [
    'recipients at beta.example are looked up in directory beta',
    'recipients at all other domains are looked up in directory default',
  ]) {
    assert.ok(demo.output().includes(line), line)
  }
}

describe('the demo', () => {
  const cases = [
    ['SIGINT', 'nc', () => tools, /\| nc 127/, false],
    ['SIGTERM', 'swaks', () => process.env.PATH, /^swaks /, skipWithout('swaks')],
  ] as const
  for (const [signal, tool, searchPath, pattern, skip] of cases) {
    test(`does what it prints, with ${tool}, until ${signal}`, async (t) => {
      const [mx = 0, submission = 0] = await freePorts(2)
      const env = { PATH: searchPath() }
      const demo = await startDemo([mx, submission], env)
      try {
        await demo.waitForLine(/Ctrl-C/)
        await t.test('each command to try gets the reply that it prints', { skip }, () =>
          doesAsPrinted(demo, env, pattern),
        )
        // It prints the same whatever the tool is.
        if (tool === 'nc') {
          await t.test(
            'the command to explain says which directory has the recipient, and where the mail goes',
            () => explainsAsPrinted(demo),
          )
        }
        await t.test(`${signal} ends everything and leaves nothing behind`, async () => {
          const [, dir = ''] = /folder +(\S+)/.exec(demo.output()) ?? []
          assert.ok(existsSync(path.join(dir, 'config', 'gal_relay.ini')))
          assert.deepEqual(await demo.end(signal), { code: 0, signal: null })
          assert.ok(!existsSync(dir), 'the folder is gone')
          assert.ok((await isFree(mx)) && (await isFree(submission)), 'nobody listens')
        })
      } finally {
        await demo.end()
      }
    })

    test(`ends at ${signal} while it starts`, async () => {
      const demo = await startDemo(await freePorts(2))
      await demo.waitForLine(/Starting/)
      assert.deepEqual(await demo.end(signal), { code: 0, signal: null })
    })
  }
})

test('a port in use ends it with one sentence', async () => {
  const [taken = 0, free = 0] = await freePorts(2)
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(taken, '127.0.0.1', resolve))
  try {
    for (const ports of [
      [taken, free],
      [free, taken],
    ]) {
      const demo = await startDemo(ports)
      assert.deepEqual(await demo.exited, { code: 1, signal: null })
      assert.match(demo.output(), new RegExp(`^Port ${taken} is in use: .*\\n$`))
    }
  } finally {
    server.close()
  }
})

test('arguments that are not ports end it with one sentence', async () => {
  for (const args of [['mail'], [2525, 2525], [2525, 2587, 1], [2525, 0]]) {
    const demo = await startDemo(args)
    assert.deepEqual(await demo.exited, { code: 1, signal: null })
    assert.match(demo.output(), /^Usage: npm start.*\n$/)
  }
})

test('an older Node is told to update, before it reads code that it cannot parse', async () => {
  const check = path.join(REPOSITORY, 'demo', 'check-node.cjs')
  const pretend = "Object.defineProperty(process.versions, 'node', { value: '18.20.4' });"
  const run = `${pretend} require(${JSON.stringify(check)})`
  const child = await startChild(process.execPath, ['-e', run])
  assert.deepEqual(await child.exited, { code: 1, signal: null })
  assert.equal(child.output(), 'This needs Node.js 20 or newer, and here is 18.20.4.\n')
})
