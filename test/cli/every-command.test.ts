// Every command, with right, wrong and missing input; as a user who may write nothing, or may not even read
// the settings; where there is no install; with settings that Haraka would not start with; and while the
// directory is away: a sentence, the exit code that says so, no stack, and nothing written.
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { chmodSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, before, describe, test } from 'node:test'
import { type CommandResult, type LoadedCommand, loadCommand, runCommand } from '../support/command'
import { type EmbeddedLdap, startEmbeddedLdap } from '../support/embedded-ldap'
import { writeInstall } from '../support/haraka'

/** Exit code, and what is said on standard error, or on standard output where there is nothing. */
type Ending = readonly [code: 0 | 1 | 2, says: RegExp]

/** Where a command does the same as with right input in a sound install. */
const SAME = 'same'

interface Line {
  /** Input that it takes. */
  readonly args: readonly string[]
  readonly right: Ending
  /** Input that it does not take. */
  readonly wrong: readonly (readonly [args: readonly string[], says: RegExp])[]
  /** Without its argument; undefined where it needs none. */
  readonly missing?: RegExp
  /** Settings that cannot be used: they are said, unless it does not need them. */
  readonly broken?: typeof SAME | Ending
  readonly noInstall?: typeof SAME | Ending
  readonly away?: typeof SAME | Ending
  /** The file with the settings may not be read. */
  readonly secret?: typeof SAME | Ending
}

const LOG = [
  '2026-11-27T10:00:00.000Z [NOTICE] [00000000-0000-4000-8000-000000000001] [core] connect ip=203.0.113.9 port=1 local_ip=10.0.0.5 local_port=25',
  '2026-11-27T10:00:00.000Z [NOTICE] [00000000-0000-4000-8000-000000000001.1] [core] sender <a@b.example> code=CONT msg=""',
  '2026-11-27T10:00:00.000Z [NOTICE] [00000000-0000-4000-8000-000000000001.1] [core] recipient <alice@example.com> code=OK msg=""',
  '2026-11-27T10:00:00.000Z [NOTICE] [00000000-0000-4000-8000-000000000001] [core] disconnect ip=203.0.113.9 rcpts=1/0/0 lr=""',
]

const NO_INSTALL: Ending = [2, /^\S+ is not a Haraka install: it has no config folder/]
const BROKEN: Ending = [
  2,
  /2 problems in the settings\n.*line 5: \[ldap\] bsae: .*probably meant: base/,
]
const SECRET: Ending = [2, /config\/gal_relay\.ini: it cannot be read: permission denied\n$/]
const EXTRA = [['extra', 'more'], /^error: too many arguments/] as const
const OPTION = [['--nonsense'], /^error: unknown option '--nonsense'/] as const
/** A file is no install, and has none in it. */
const NO_FOLDER = [['--config', 'main.cf'], /main\.cf is not a Haraka install/] as const

const COMMANDS: Readonly<Record<string, Line>> = {
  init: {
    // It has a test of its own where there is nothing yet; here it leaves what there is.
    args: ['--yes'],
    right: [2, /gal_relay\.ini is there already and stays as it is/],
    wrong: [EXTRA, OPTION],
    broken: SAME,
    secret: SAME,
  },
  check: {
    args: [],
    right: [0, /\n0 problems, /],
    wrong: [EXTRA, OPTION],
    broken: [1, /problem +config\/gal_relay\.ini line 5: \[ldap\] bsae/],
    away: [1, /problem +.*ECONNREFUSED/],
    secret: [1, /problem +config\/gal_relay\.ini: it cannot be read: permission denied/],
  },
  explain: {
    args: ['alice@example.com'],
    right: [0, /RCPT TO:<alice@example\.com>\n250 /],
    wrong: [
      [['alice@example.com', '--client', 'x'], /^'x' is not an IP address/],
      [['alice@example.com', '--listener', 'x'], /^'x' is not an address and port/],
      OPTION,
    ],
    missing: /^error: missing required argument 'recipients'/,
    away: [1, /451 4\.4\.3 The directory cannot be asked/],
  },
  'who-may-relay': {
    args: [],
    right: [0, /^listener \*:\*/],
    wrong: [[['--listener', 'x'], /^'x' is not an address and port/], EXTRA, OPTION],
  },
  lookup: {
    args: ['alice@example.com'],
    right: [0, /^alice@example\.com is in the directory/],
    wrong: [[['nobody'], /^'nobody' is not a mail address/], OPTION],
    missing: /^error: missing required argument 'addresses'/,
    away: [2, /the directory cannot tell: no server is up: connect ECONNREFUSED/],
  },
  trace: {
    args: ['alice@example.com', 'haraka.log'],
    right: [0, /recipient <alice@example\.com>/],
    wrong: [
      [['alice@example.com', 'nowhere.log'], /^there is no file nowhere\.log/],
      [['alice', 'haraka.log'], /^'alice' is neither a mail address nor/],
      [[`${'a'.repeat(100_000)}@example.com`, 'haraka.log'], /^what is asked for has 100012 char/],
      OPTION,
    ],
    missing: /^error: missing required argument 'address\|id'/,
    broken: SAME,
    noInstall: [2, /^there is no file haraka\.log/],
    secret: SAME,
  },
  routes: {
    args: [],
    right: [0, /^rows\n +example\.com +inbound/],
    wrong: [NO_FOLDER, [['--config', 'main.cf/x'], /is not a Haraka install/], EXTRA, OPTION],
  },
  settings: { args: [], right: [0, /^listener \*:\*/], wrong: [EXTRA, OPTION] },
  sync: {
    args: [],
    right: [2, /^there is no list to read: \[gal\] mode is not snapshot/],
    wrong: [EXTRA, OPTION],
  },
  publish: {
    args: ['--once', '--to', 'gal.list'],
    right: [2, /^\[snapshot\] key_file is missing: the secret that lists are signed with/],
    wrong: [[['--force'], /^--force needs --once/], EXTRA, OPTION],
  },
  drain: {
    args: [],
    right: [0, /^nothing waits for a next hop/],
    wrong: [EXTRA, OPTION],
    broken: SAME,
    secret: SAME,
  },
  import: {
    args: ['main.cf'],
    right: [1, /^left out +/m],
    wrong: [
      [['nowhere'], /^there is no file or folder nowhere/],
      [['main.cf/x'], /^main\.cf\/x cannot be read: ENOTDIR/],
      [['/dev/zero'], /^\/dev\/zero is neither a file nor a folder/],
      [
        ['--from', 'sendmail', '.'],
        /^error: option '--from <kind>' argument 'sendmail' is invalid/,
      ],
      OPTION,
    ],
    missing: /^error: missing required argument 'source'/,
    broken: SAME,
    noInstall: [2, /^there is no file or folder main\.cf/],
    secret: SAME,
  },
  forget: {
    args: ['alice@example.com'],
    right: [2, /^no running server answers at /],
    wrong: [[['nobody'], /^'nobody' is not a mail address/], OPTION],
    missing: /^error: missing required argument 'address'/,
  },
  harvest: {
    args: [],
    right: [1, /^harvest defence is off/],
    wrong: [EXTRA, OPTION],
  },
  replay: {
    args: ['haraka.log'],
    right: [0, /^0 answers of 1 would differ/],
    wrong: [[['nowhere.log'], /^there is no file nowhere\.log/], OPTION],
    missing: /^error: missing required argument 'logs'/,
    away: [1, /1 recipient could not be decided: a directory cannot tell/],
  },
  report: {
    args: ['haraka.log', '--day', '2026-11-27'],
    right: [0, /^Mail of 2026-11-27, from Haraka's log/],
    wrong: [
      [['nowhere.log'], /^there is no file nowhere\.log/],
      [['haraka.log', '--day', 'then'], /then/],
      OPTION,
    ],
    missing: /^name the log: /,
    broken: SAME,
    noInstall: [2, /^there is no file haraka\.log/],
    secret: SAME,
  },
}

/** A user who owns nothing. */
const NOBODY = 65_534
const command = loadCommand()
const nobodys = loadCommand(NOBODY)
const skip = process.getuid?.() === 0 ? false : 'needs root'
const missingOf = ({ missing }: Line) => (missing ? [[[], missing] as const] : [])

describe('every command', () => {
  let ldap: EmbeddedLdap
  let ini: string
  const folders: string[] = []

  before(async () => {
    ldap = await startEmbeddedLdap(['alice@example.com'])
    ini = `[routes]\nexample.com = inbound\n[ldap]\nurl[] = ${ldap.url}\nbase = ${ldap.base}\n`
  })
  after(async () => {
    await ldap.stop()
    for (const folder of folders) rmSync(folder, { recursive: true, force: true })
  })

  const folderWith = (write: (folder: string) => void) => {
    const folder = mkdtempSync(path.join(tmpdir(), 'install-'))
    folders.push(folder)
    // For a user who is not its owner.
    chmodSync(folder, 0o755)
    write(folder)
    return folder
  }

  /** In one folder, each command with each of these inputs. */
  async function each(
    cwd: string,
    command: LoadedCommand,
    runsOf: (line: Line) => readonly (readonly [args: readonly string[], ending: Ending])[],
  ): Promise<void> {
    for (const [name, line] of Object.entries(COMMANDS)) {
      for (const [args, ending] of runsOf(line)) {
        const before = contentOf(cwd)
        const asked = [name, ...args].join(' ')
        says(asked, await command.runCommand([name, ...args], { cwd }), ending)
        assert.deepEqual(contentOf(cwd), before, `${asked} wrote something`)
      }
    }
  }

  test('has a line here', async () => {
    const { stdout } = await runCommand(['--help'])
    const [, list = ''] = stdout.split('\nCommands:\n')
    const names = Array.from(list.matchAll(/^ {2}([a-z-]+) /gm), ([, name = '']) => name)
    assert.deepEqual(names.filter((name) => name !== 'help').sort(), Object.keys(COMMANDS).sort())
  })

  test('with right, wrong and missing input', async () => {
    const cwd = folderWith((folder) => writeFiles(folder, ini))
    await each(cwd, command, (line) => [
      [line.args, line.right],
      ...[...line.wrong, ...missingOf(line)].map(([args, text]): [readonly string[], Ending] => [
        args,
        [2, text],
      ]),
    ])
  })

  test('with settings that Haraka would not start with', async () => {
    const cwd = folderWith((folder) => writeFiles(folder, ini.replace('base', 'bsae')))
    await each(cwd, command, (line) => [[line.args, endingOf(line, line.broken ?? BROKEN)]])
  })

  test('with settings that are no file, have a password file below a file, or an endless value', async () => {
    const run = async (ending: Ending, content: string | undefined) => {
      const cwd = folderWith((folder) => writeFiles(folder, content ?? ''))
      const file = path.join(cwd, 'config', 'gal_relay.ini')
      if (content === undefined) {
        rmSync(file)
        execFileSync('mkfifo', [file])
      }
      const args = ['explain', 'alice@example.com']
      const { stdout, stderr, code } = await command.runCommand(args, { cwd })
      says(args.join(' '), { stdout, stderr, code }, ending)
      assert.ok(stderr.length < 5000)
    }
    await run([2, /config\/gal_relay\.ini: it is a named pipe, not a file\n$/], undefined)
    const secret = 'bind_dn = cn=reader\nbind_password_file = plugins/secret\n'
    await run([1, /451 4\.4\.3/], `${ini}${secret}`)
    await run([2, /is not an IPv4/], `${ini}[restrictions]\nhosts[] = ${'1'.repeat(1_000_000)}\n`)
  })

  test('where there is no install', async () => {
    const cwd = folderWith(() => {})
    await each(cwd, command, (line) => [[line.args, endingOf(line, line.noInstall ?? NO_INSTALL)]])
  })

  test('while the directory is away', async () => {
    const away = ini.replace(ldap.url, 'ldap://127.0.0.1:1')
    const cwd = folderWith((folder) => writeFiles(folder, away))
    await each(cwd, command, (line) => [[line.args, endingOf(line, line.away ?? SAME)]])
  })

  test('as a user who may write nothing', { skip }, async () => {
    const cwd = folderWith((folder) => writeFiles(folder, ini))
    await each(cwd, nobodys, (line) => [[line.args, line.right]])
  })

  test('as a user who may not read the settings', { skip }, async () => {
    const cwd = folderWith((folder) => {
      writeFiles(folder, ini)
      chmodSync(path.join(folder, 'config', 'gal_relay.ini'), 0o600)
    })
    await each(cwd, nobodys, (line) => [[line.args, endingOf(line, line.secret ?? SECRET)]])
  })

  test('init, where there is nothing yet', async () => {
    const cwd = folderWith((folder) => writeInstall(folder, [25], { hostList: ['example.com'] }))
    const init = async (ending: Ending, args: readonly string[], by = command) => {
      const before = contentOf(cwd)
      says(args.join(' '), await by.runCommand(['init', '--yes', ...args], { cwd }), ending)
      assert.deepEqual(contentOf(cwd), before)
    }
    await init([2, /nonsense/], ['--url', 'nonsense'])
    await init([2, /127\.0\.0\.1:1.*ECONNREFUSED/], ['--url', 'ldap://127.0.0.1:1'])
    if (skip) return
    const args = ['--url', ldap.url, '--base', ldap.base]
    await init([2, /cannot be written: permission denied/], args, nobodys)
  })
})

const endingOf = ({ right }: Line, ending: typeof SAME | Ending) =>
  ending === SAME ? right : ending

function writeFiles(folder: string, ini: string): void {
  writeInstall(folder, [25], { ini, hostList: ['example.com'] })
  writeFileSync(path.join(folder, 'haraka.log'), LOG.map((line) => `${line}\n`).join(''))
  writeFileSync(path.join(folder, 'main.cf'), 'mynetworks = 192.168.1.0/24\n')
}

function says(
  asked: string,
  { code, stdout, stderr }: CommandResult,
  [expected, text]: Ending,
): void {
  const all = `${asked}: exit code ${code}\n${stdout}\n${stderr}`
  assert.equal(code, expected, all)
  assert.match(stderr || stdout, text, all)
  assert.doesNotMatch(stdout + stderr, /\n +at |undefined|\[object|^Error/m, asked)
  // What went wrong is on standard error alone, where a list of its findings is not asked for.
  if (code === 2 && stderr) assert.equal(stdout, '', asked)
}

/** Of all files and folders but the packages: their owners, modes, sizes and times. */
function contentOf(folder: string): readonly string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    if (entry.name === 'node_modules') return []
    const name = path.join(folder, entry.name)
    const { mode, uid, size, mtimeMs } = statSync(name)
    const own = [name, mode, uid, size, mtimeMs].join(' ')
    return entry.isDirectory() ? [own, ...contentOf(name)] : [own]
  })
}
