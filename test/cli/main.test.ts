// What all subcommands have in common: how they end when they cannot run, and colour.
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, before, describe, test } from 'node:test'
import { promisify } from 'node:util'
import { COMMAND, loadCommand, loadCommandAfterFirst } from '../support/command'
import { writeInstall } from '../support/haraka'
import { skipWithout } from '../support/programs'

const { runJson } = loadCommand()
const { runCommand } = loadCommandAfterFirst()
const OPEN = '[restrictions]\nopen = true\n[ldap]\nurl[] = ldap://127.0.0.1:1\nbase = dc=test\n'

describe('gal-relay', () => {
  let root: string
  before(() => {
    root = mkdtempSync(path.join(tmpdir(), 'install-'))
    writeInstall(root, [25], { ini: OPEN })
  })
  after(() => rmSync(root, { recursive: true, force: true }))

  test('says in JSON too why it cannot run', async () => {
    const cases: readonly (readonly [args: readonly string[], error: RegExp])[] = [
      [['check', '--config', '/nowhere'], /^\/nowhere is not a Haraka install/],
      [['sync', '--config', root], /^there is no list to read/],
      [['who-may-relay', '--listener', 'x', '--config', root], /^'x' is not an address and port/],
      [['lookup', 'nobody', '--config', root], /^'nobody' is not a mail address/],
      [['explain', '--config', root], /^missing required argument 'recipients'$/],
      [['check', '--verbose'], /^unknown option '--verbose'/],
      [[], /^no command is given$/],
      [['--config', root], /^no command is given$/],
      [['help', 'chekc'], /^unknown command 'chekc'\n\(Did you mean check\?\)$/],
      [['help', 'nonsense'], /^unknown command 'nonsense'$/],
      [['chekc'], /^unknown command 'chekc'\n\(Did you mean check\?\)$/],
    ]
    for (const [args, error] of cases) {
      const { code, json } = await runJson<{ readonly error: string }>(args)
      assert.equal(code, 2, args.join(' '))
      assert.deepEqual(Object.keys(json), ['error'])
      assert.match(json.error, error)
      const { stdout, stderr } = await runCommand(args)
      assert.equal(stdout, '')
      assert.ok(stderr.includes(json.error), stderr)
    }
  })

  test('helps', async () => {
    const help = await runCommand(['help'])
    assert.deepEqual(help, await runCommand(['--help']))
    assert.equal(help.code, 0)
    assert.deepEqual(await runCommand(['help', 'sync']), await runCommand(['sync', '--help']))
  })

  test('names the settings that Haraka would not start with', async () => {
    const broken = mkdtempSync(path.join(tmpdir(), 'install-'))
    try {
      writeInstall(broken, [25], { ini: OPEN.replace('open', 'opne') })
      for (const args of [['who-may-relay'], ['lookup', 'a@b.test'], ['sync']]) {
        const { code, json } = await runJson<{ readonly error: string }>([
          ...args,
          ...['--config', broken],
        ])
        assert.equal(code, 2)
        assert.match(json.error, /line 2: \[restrictions\] opne: .*probably meant: open/)
      }
    } finally {
      rmSync(broken, { recursive: true, force: true })
    }
  })

  test('ends quietly when nobody reads on, and with a sentence when the disk is full', async () => {
    const shell = (line: string) => promisify(execFile)('sh', ['-c', line])
    const settings = `"${process.execPath}" "${COMMAND}" settings --config "${root}"`
    const { stderr } = await shell(`${settings} | head -1`)
    assert.equal(stderr, '')
    await assert.rejects(shell(`${settings} > /dev/full`), (error: unknown) => {
      const { code, stderr } = error as { readonly code: number; readonly stderr: string }
      assert.match(
        stderr,
        /^the answer cannot be written: ENOSPC: no space left on device, write\n$/,
      )
      return code === 2
    })
  })

  test('colours on a terminal only, and not with NO_COLOR', {
    skip: skipWithout('script'),
  }, async () => {
    const onTerminal = async (env: Readonly<Record<string, string>>) => {
      const command = `"${process.execPath}" "${COMMAND}" who-may-relay --config "${root}"; true`
      const { NO_COLOR: _, ...inherited } = process.env
      const options = { env: { ...inherited, TERM: 'xterm', ...env } }
      const args = ['-qec', command, '/dev/null']
      return (await promisify(execFile)('script', args, options)).stdout
    }
    const red = '\x1b[31m  any client: open = true'
    assert.ok((await onTerminal({})).includes(red))
    assert.ok(!(await onTerminal({ NO_COLOR: '1' })).includes('\x1b'))
    assert.ok(!(await onTerminal({ TERM: 'dumb' })).includes('\x1b'))
    const { code, stdout } = await runCommand(['who-may-relay', '--config', root])
    assert.equal(code, 1)
    assert.ok(stdout.includes('any client: open = true') && !stdout.includes('\x1b'))
  })
})
