// docs/commands.md is true: every command in it is run, in an install with the gal_relay.ini that the
// page shows last in its section, or else first of all, and prints what is there, but for times and
// for where the directory is.
// `node dist/test/cli/docs.test.js --write` puts the real output into the page.
import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { describe, test } from 'node:test'
import { loadCommand, runCommand } from '../support/command'
import { REPOSITORY, writeInstall } from '../support/haraka'
import { skipWithout } from '../support/programs'
import { writeQueueFile } from '../support/queue-file'
import { startSlapd, unitEntry } from '../support/slapd'

const loaded = loadCommand()
const PAGE = path.join(REPOSITORY, 'docs', 'commands.md')
const BASE = 'dc=corp,dc=example'
const unit = (ou: string) => unitEntry(`ou=${ou},${BASE}`)
const ENTRIES = [
  unit('People'),
  unit('Lists'),
  {
    dn: `cn=Alice Adams,ou=People,${BASE}`,
    mail: 'alice@example.com',
    proxyAddresses: ['SMTP:alice@example.com', 'smtp:a.adams@example.com'],
  },
  {
    dn: `cn=Board,ou=Lists,${BASE}`,
    mail: 'board@example.com',
    proxyAddresses: 'SMTP:board@example.com',
    msExchRequireAuthToSendTo: 'TRUE',
    msExchHideFromAddressLists: 'TRUE',
  },
]
const EXCHANGE_REG = `REGEDIT4\r
\r
[HKEY_LOCAL_MACHINE\\SYSTEM\\CurrentControlSet\\Services\\MSExchangeIMC\\Parameters]\r
"RelayFlags"=dword:00000002\r
`
const LOG_LINE = '[NOTICE] [8D6E7A4F-52CF-4F6B-9F0B-3B6C2C1F6A11] [core] connect ip=192.0.2.7\n'
/** Two connections, as Haraka logs them. */
const HARAKA_LOG = [
  ['NOTICE', '1', '', 'core', 'connect ip=203.0.113.9 port=40001 local_ip=10.0.0.5 local_port=25'],
  ['NOTICE', '1', '.1', 'core', 'sender <news@shop.example> code=CONT msg=""'],
  ['INFO', '1', '.1', 'core', ' hook=rcpt plugin=gal-relay params=<alice@example.com> retval=OK'],
  ['NOTICE', '1', '.1', 'core', 'recipient <alice@example.com> code=OK msg=""'],
  ['INFO', '1', '.1', 'core', ' hook=rcpt plugin=gal-relay params=<carl@example.com> retval=OK'],
  ['NOTICE', '1', '.1', 'core', 'recipient <carl@example.com> code=OK msg=""'],
  [
    ...['NOTICE', '1', '.1', 'gal-relay'],
    'refused ip=203.0.113.9 rdns=mail.shop.example helo=mail.shop.example account="" ' +
      'sender=news@shop.example recipient=bob@example.com local_ip=10.0.0.5 local_port=25 ' +
      'rule=not-in-gal reply="550 5.1.1 Recipient unknown"',
  ],
  [
    'NOTICE',
    '1',
    '.1',
    'core',
    'recipient <bob@example.com> code=DENY msg="5.1.1 Recipient unknown"',
  ],
  ['NOTICE', '1', '', 'core', 'disconnect ip=203.0.113.9 rdns=mail.shop.example rcpts=2/0/1 lr=""'],
  ['NOTICE', '2', '', 'core', 'connect ip=192.168.1.20 port=40002 local_ip=10.0.0.5 local_port=25'],
  ['NOTICE', '2', '.1', 'core', 'sender <alice@example.com> code=CONT msg=""'],
  [
    ...['INFO', '2', '.1', 'gal-relay'],
    'accepted ip=192.168.1.20 rdns=pc20.corp.example helo=pc20 account="" ' +
      'sender=alice@example.com recipient=friend@elsewhere.example local_ip=10.0.0.5 ' +
      'local_port=25 rule=relay-hosts path=outbound hop=mx leaves_as=""',
  ],
  ['NOTICE', '2', '.1', 'core', 'recipient <friend@elsewhere.example> code=OK msg=""'],
  [
    'NOTICE',
    '2',
    '',
    'core',
    'disconnect ip=192.168.1.20 rdns=pc20.corp.example rcpts=1/0/0 lr=""',
  ],
]
  .map(
    ([level, connection, transaction, origin, text]) =>
      `2026-11-27T10:00:00.000Z [${level}] [00000000-0000-4000-8000-00000000000${connection}${transaction}] [${origin}] ${text}\n`,
  )
  .join('')
const MAIL_LOG =
  'Nov 27 10:00:00 mx postfix/smtpd[12]: NOQUEUE: reject: RCPT from unknown[203.0.113.9]: 554 5.7.1 ' +
  '<a@b.example>: Relay access denied; from=<c@d.example> to=<a@b.example> proto=ESMTP helo=<x>\n'
const DIRECTORY = 'ldap://dc1.corp.example'
const FOLDER = '/srv/haraka'

interface Install {
  readonly root: string
  /** The command with the directory that there is. */
  real(command: string): string
  /** Writes its gal_relay.ini. */
  configure(ini: string): void
  /** What was printed, with the names that the page has for the folder and the directory. */
  shown(text: string): string
}

/** An install with the page's first configuration, and its directory, for as long as it is used. */
async function inInstall<T>(use: (install: Install) => Promise<T>): Promise<T> {
  const ldap = await startSlapd({ entries: ENTRIES, suffix: BASE })
  const root = mkdtempSync(path.join(tmpdir(), 'install-'))
  const configure = (ini: string) =>
    writeInstall(root, [25], { ini: ini.replaceAll(DIRECTORY, ldap.url) })
  const shown = (text: string) => text.replaceAll(ldap.url, DIRECTORY).replaceAll(root, FOLDER)
  try {
    configure(firstIni(readFileSync(PAGE, 'utf8')))
    const hops = ['smtp://exchange.corp.example:25']
    writeQueueFile(root, { domain: 'example.com', hops, to: ['alice', 'bob'], attempts: 3 })
    writeQueueFile(root, { domain: 'friends.example', hops: [] })
    writeFileSync(path.join(root, 'haraka.log'), HARAKA_LOG)
    writeFileSync(path.join(root, 'haraka.log.1'), '')
    const real = (command: string) => command.replaceAll(DIRECTORY, ldap.url)
    writeInstall(path.join(root, 'new'), [25], { hostList: ['example.com'] })
    writeFileSync(path.join(root, 'config/gal_relay.key'), 'k'.repeat(64), { mode: 0o600 })
    return await use({ root, real, configure, shown })
  } finally {
    await ldap.stop()
    rmSync(root, { recursive: true, force: true })
  }
}

/** @returns the page with the output that its commands have now */
async function withOutput(
  page: string,
  { root, real, configure, shown }: Install,
): Promise<string> {
  const parts = page.split(/^(```(?:ini|old|log|console)\n[\s\S]*?^```\n)/m)
  for (const [index, part] of parts.entries()) {
    if (/^## /m.test(part)) configure(firstIni(page))
    const [, kind, text = ''] = /^```(ini|old|console)\n([\s\S]*)```\n$/.exec(part) ?? []
    if (kind === 'ini') configure(text)
    const [, log] = /^```log\n([\s\S]*)```\n$/.exec(part) ?? []
    if (log) writeFileSync(path.join(root, 'haraka.log'), log)
    if (kind === 'old') writeFileSync(path.join(root, 'main.cf'), text)
    if (kind !== 'console') continue
    const outputs: string[] = []
    for (const line of text.split('\n').filter((one) => one.startsWith('$ '))) {
      assert.match(line, /^\$ npx gal-relay /)
      const words = wordsOf(real(line)).slice(3)
      const { stdout, stderr } = await loaded.runCommand(
        words.map((word) => inTest(word, root)),
        { cwd: root },
      )
      outputs.push(`${line}\n${shown(stdout + stderr).trimEnd()}\n`)
    }
    parts[index] = `\`\`\`console\n${outputs.join('\n')}\`\`\`\n`
  }
  return parts.join('')
}

const firstIni = (page: string) => /^```ini\n([\s\S]*?)^```$/m.exec(page)?.[1] ?? ''

/** As a shell reads them: single quotes hold words together. */
const wordsOf = (line: string) =>
  Array.from(line.matchAll(/'([^']*)'|\S+/g), ([word, quoted]) => quoted ?? word)

/** What is another number each time. */
const timeless = (text: string) =>
  text
    .replace(/\d+(\.\d+)? m?s\b/g, 'N s')
    .replace(/"milliseconds":[\d.]+/g, '"milliseconds":N')
    .replace(/\d{4}-\d\d-\d\dT[\d:.]+Z/g, 'then')

/** What the command, or one of its subcommands, says to `--help`. */
const help = async (...name: string[]) => (await loaded.runCommand([...name, '--help'])).stdout

/** The commands that are indented by four columns, or by none. */
const indented = (text: string) =>
  Array.from(text.matchAll(/^ {4}(?:npx )?(gal-relay .*)$/gm), ([, command = '']) => command)

const inTest = (command: string, root: string) =>
  command.replace(FOLDER, root).replace('/var/log/haraka.log', path.join(root, 'haraka.log'))

const page = () => readFileSync(PAGE, 'utf8')

if (process.argv.includes('--write')) {
  inInstall((install) => withOutput(page(), install)).then((text) => writeFileSync(PAGE, text))
} else {
  describe('commands in the docs', { skip: skipWithout('slapd', 'slapadd') }, () => {
    test('docs/commands.md shows what they print', async () => {
      assert.ok((page().match(/^\$ /gm) ?? []).length > 10)
      const now = await inInstall((install) => withOutput(page(), install))
      assert.equal(timeless(now), timeless(page()))
    })

    test('those in the README and in each --help run as they stand', async () => {
      const commands = indented(readFileSync(path.join(REPOSITORY, 'README.md'), 'utf8'))
      assert.ok(commands.length > 3)
      const [, list = ''] = (await help()).split('\nCommands:\n')
      const names = Array.from(list.matchAll(/^ {2}([a-z-]+) /gm), ([, name = '']) => name)
      assert.ok(names.length > 4)
      for (const name of names.filter((one) => one !== 'help')) {
        const examples = indented((await help(name)).replace(/ \\\n +/g, ' '))
        assert.ok(examples.length > 0, `${name} --help has no examples`)
        commands.push(...examples)
      }
      await inInstall(async ({ root, real, configure }) => {
        writeFileSync(path.join(root, 'main.cf'), 'mynetworks = 192.168.1.0/24\n')
        writeFileSync(path.join(root, 'exchange.reg'), EXCHANGE_REG)
        writeFileSync(path.join(root, 'haraka.log'), HARAKA_LOG + LOG_LINE)
        writeFileSync(path.join(root, 'mail.log'), MAIL_LOG)
        const hasEnded = new Set<string>()
        for (const command of commands) {
          // What follows a | or a > is for another program, or for the shell.
          const [line = ''] = inTest(command, root).split(/ [|<>] /)
          // It writes nothing over what is there.
          const isFirst = line.startsWith('gal-relay init')
          if (isFirst) rmSync(path.join(root, 'config', 'gal_relay.ini'))
          const options = { cwd: root, input: 'alice@example.com\n' }
          const args = wordsOf(real(line)).slice(1)
          const [name = ''] = args
          // Each once as a process of its own, which must end by itself.
          const run = hasEnded.has(name) ? loaded.runCommand : runCommand
          hasEnded.add(name)
          const { code, stderr } = await run(args, options)
          if (isFirst) configure(firstIni(page()))
          const isOff =
            stderr.startsWith('there is no list to read: [gal] mode') ||
            stderr.startsWith('[snapshot] key_file is missing')
          // It says there what it has found.
          const isFine = code < 2 && (stderr === '' || line.startsWith('gal-relay import'))
          // No server runs in this install.
          const isUnheard =
            line.startsWith('gal-relay forget') && stderr.includes('no running server answers')
          assert.ok(isFine || isOff || isUnheard, `${line}: ${code} ${stderr}`)
        }
      })
    })
  })
}
