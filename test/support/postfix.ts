// A real Postfix for a test, with its own configuration, queue and log, on loopback only. Either it sends all
// mail to one host and retries by itself, or it accepts mail and keeps it in files.
import { execFile } from 'node:child_process'
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { promisify } from 'node:util'
import { freePort, untilListening } from './ports'
import { skipWithout } from './programs'
import { until } from './until'

export interface PostfixOptions {
  /** The port of loopback that all mail is sent to. Without it, Postfix keeps all mail. */
  readonly relayTo?: number
  /** Lines for main.cf. */
  readonly settings?: readonly string[]
}

/** A message that Postfix delivered into a mailbox. */
export interface KeptMail {
  readonly recipient: string
  /** The whole message, with the headers that Postfix adds at the top; line ends are LF. */
  readonly text: string
}

export interface Postfix {
  readonly port: number
  /** The process id of its master. */
  readonly pid: number
  log(): string
  /** The ids of the messages in its queue. */
  queue(): Promise<string[]>
  mailboxes(): KeptMail[]
  /** Tries to deliver every message in its queue now. */
  flush(): Promise<void>
  stop(): Promise<void>
}

/** Its master must run as root. For other users, `sudo` must not ask for a password. */
export function skipWithoutPostfix(): string | false {
  const missing = skipWithout('postfix')
  return missing || (process.getuid?.() === 0 ? false : skipWithout('sudo'))
}

export async function startPostfix(options: PostfixOptions = {}): Promise<Postfix> {
  const folder = mkdtempSync(path.join(tmpdir(), 'postfix-'))
  // The programs of Postfix run as other users, who must be able to enter it.
  chmodSync(folder, 0o755)
  const port = await freePort()
  const dir = (name: string) => path.join(folder, name)
  for (const name of ['etc', 'queue', 'data', 'mail']) mkdirSync(dir(name))
  writeFileSync(dir('etc/main.cf'), mainCf(folder, options))
  writeFileSync(dir('etc/master.cf'), masterCf(port))
  await root('chown', 'postfix', dir('data'))
  await root('chown', 'nobody', dir('mail'))
  const postfix = (...args: string[]) => root('postfix', '-c', dir('etc'), ...args)
  const log = () => (existsSync(dir('log')) ? readFileSync(dir('log'), 'utf8') : '')
  try {
    await postfix('start')
    // Its log process sends its own first line to itself. If too many other lines come before that one, it
    // waits for ever, so no client may connect until it is up.
    await until(() => log().includes('daemon started'))
    await untilListening(port)
  } catch (error) {
    const reason = `Postfix did not start: ${(error as Error).message}\n${log()}`
    await root('rm', '-rf', folder)
    throw new Error(reason)
  }
  return {
    port,
    pid: Number(readFileSync(dir('queue/pid/master.pid'), 'utf8')),
    log,
    async queue() {
      const { stdout } = await root('postqueue', '-c', dir('etc'), '-j')
      return stdout
        .split('\n')
        .filter(Boolean)
        .map((line) => (JSON.parse(line) as { queue_id: string }).queue_id)
    },
    mailboxes: () => readMailboxes(dir('mail')),
    flush: async () => void (await root('postqueue', '-c', dir('etc'), '-f')),
    async stop() {
      await postfix('stop').catch(() => {})
      await root('rm', '-rf', folder)
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

function root(program: string, ...args: string[]): Promise<{ stdout: string }> {
  const run = promisify(execFile)
  return process.getuid?.() === 0 ? run(program, args) : run('sudo', ['-n', program, ...args])
}

// A retry while the last attempt is still closing its session would be delayed by five minutes.
function mainCf(folder: string, { relayTo, settings = [] }: PostfixOptions): string {
  const route =
    relayTo === undefined
      ? [
          'relay_domains =',
          'virtual_mailbox_domains = static:all',
          `virtual_mailbox_base = ${folder}/mail`,
          'virtual_mailbox_maps = static:all',
          'virtual_uid_maps = static:65534',
          'virtual_gid_maps = static:65534',
          'virtual_minimum_uid = 1',
        ]
      : [`relayhost = [127.0.0.1]:${relayTo}`, 'virtual_mailbox_domains =']
  const lines = `
compatibility_level = 3.6
queue_directory = ${folder}/queue
data_directory = ${folder}/data
maillog_file = ${folder}/log
maillog_file_prefixes = ${folder}
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
myhostname = postfix.test
mydestination =
mynetworks = 127.0.0.0/8
smtpd_relay_restrictions = permit_mynetworks, reject
smtpd_peername_lookup = no
smtp_host_lookup = native
smtputf8_enable = yes
alias_maps =
alias_database =
local_recipient_maps =
biff = no
queue_run_delay = 1s
minimal_backoff_time = 3s
maximal_backoff_time = 4s
transport_retry_time = 1s
${route.join('\n')}
`
  // If a parameter is there twice, each process logs a warning when it starts.
  const given = new Set(settings.map(nameIn))
  const others = lines.split('\n').filter((line) => !given.has(nameIn(line)))
  return `${[...others, ...settings].join('\n')}\n`
}

const nameIn = (line: string) => /^(\w+)\s*=/.exec(line)?.[1] ?? line

function masterCf(port: number): string {
  const services = [
    `127.0.0.1:${port} inet n - n - - smtpd`,
    'pickup unix n - n 60 1 pickup',
    'cleanup unix n - n - 0 cleanup',
    'qmgr unix n - n 300 1 qmgr',
    'rewrite unix - - n - - trivial-rewrite',
    'bounce unix - - n - 0 bounce',
    'defer unix - - n - 0 bounce',
    'trace unix - - n - 0 bounce',
    'verify unix - - n - 1 verify',
    'flush unix n - n 1000? 0 flush',
    'proxymap unix - - n - - proxymap',
    'proxywrite unix - - n - 1 proxymap',
    'smtp unix - - n - - smtp',
    'relay unix - - n - - smtp',
    'showq unix n - n - - showq',
    'error unix - - n - - error',
    'retry unix - - n - - error',
    'discard unix - - n - - discard',
    'local unix - n n - - local',
    'virtual unix - n n - - virtual',
    'anvil unix - - n - 1 anvil',
    'scache unix - - n - 1 scache',
    'postlog unix-dgram n - n - 1 postlogd',
  ]
  return `${services.join('\n')}\n`
}

function readMailboxes(folder: string): KeptMail[] {
  const files = readdirSync(folder).filter((file) => !file.endsWith('.lock'))
  return files.flatMap((file) =>
    readFileSync(path.join(folder, file), 'utf8')
      .split(/^(?=From \S+ {2})/m)
      .filter(Boolean)
      .map((text) => ({ recipient: /^X-Original-To: (.*)$/m.exec(text)?.[1] ?? '', text })),
  )
}
