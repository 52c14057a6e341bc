// A server on the inside that publishes a list, and gateways that receive it and know no directory.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { COMMAND } from './command'
import { type Haraka, type HarakaOptions, startHaraka, writeInstall } from './haraka'
import { type Child, startChild } from './processes'
import type { Slapd } from './slapd'
import { connectSmtp } from './smtp'
import { until } from './until'

export const SECRET = 'a secret of the test, long enough for a list'

export interface KeyFile {
  readonly file: string
  write(text: string, mode?: number): void
}

export interface Publisher extends Child {
  readonly install: string
  readonly key: KeyFile
  /** Ends it and removes its install. */
  stop(): Promise<void>
}

export interface PublisherOptions {
  readonly slapd: Pick<Slapd, 'url' | 'base'>
  readonly to?: string
  /** More of gal_relay.ini. */
  readonly ini?: string
  readonly changesEvery?: string
  readonly secret?: string
}

export function keyFileIn(folder: string): KeyFile {
  const file = path.join(folder, 'list.key')
  return { file, write: (text, mode = 0o600) => writeFileSync(file, `${text}\n`, { mode }) }
}

/** The install of a server on the inside, with its key. The test removes it. */
export function publisherInstall({
  slapd,
  ini = '',
  changesEvery = '1s',
  secret = SECRET,
}: PublisherOptions): { readonly install: string; readonly key: KeyFile } {
  const install = mkdtempSync(path.join(tmpdir(), 'inside-'))
  const key = keyFileIn(install)
  key.write(secret)
  const text = `[routes]
example.com = inbound
[ldap]
url[] = ${slapd.url}
base = ${slapd.base}
retry_after = 200ms to 1s
[snapshot]
changes_every = ${changesEvery}
key_file = ${key.file}
${ini}
`
  writeInstall(install, [25], { ini: text })
  return { install, key }
}

export async function startPublisher(options: PublisherOptions): Promise<Publisher> {
  const { install, key } = publisherInstall(options)
  const to = options.to ? ['--to', options.to] : []
  const args = [COMMAND, 'publish', ...to, '-c', install]
  const child = await startChild(process.execPath, args, {
    cwd: '/',
    env: { HARAKA: undefined, NODE_TEST_CONTEXT: undefined },
  })
  return Object.assign(Object.create(child) as Child, {
    install,
    key,
    async stop() {
      await child.end('SIGTERM')
      rmSync(install, { recursive: true, force: true })
    },
  })
}

export interface EdgeOptions extends Omit<HarakaOptions, 'ini'> {
  /** More of gal_relay.ini, such as where the list comes from. */
  readonly ini: string
  readonly changesEvery?: string
  readonly secret?: string
}

export interface Edge extends Haraka {
  readonly key: KeyFile
  /** @returns the first nine characters of the reply to each recipient */
  ask(...recipients: string[]): Promise<string[]>
  /** Waits until the reply to this recipient begins with `reply`. */
  answers(recipient: string, reply: string, within?: number): Promise<void>
}

export const FOUND = '250 recip'
export const ABSENT = '550 5.1.1'
export const DEFERRED = '451 4.4.3'

export async function startEdge(options: EdgeOptions): Promise<Edge> {
  const { ini, changesEvery = '1s', secret = SECRET, ...rest } = options
  const folder = mkdtempSync(path.join(tmpdir(), 'edge-'))
  const key = keyFileIn(folder)
  key.write(secret)
  const haraka = await startHaraka({
    outbound: false,
    ...rest,
    ini: `[routes]
example.com = inbound
[gal]
mode = received
[snapshot]
changes_every = ${changesEvery}
key_file = ${key.file}
${ini}
`,
  })
  return withQuestions(haraka, key)
}

/** The same Haraka, with functions that ask it. */
export function withQuestions(haraka: Haraka, key: KeyFile): Edge {
  const ask = async (...recipients: string[]) => {
    const smtp = await connectSmtp({ port: haraka.port, proxy: CLIENT })
    await smtp.ehlo()
    await smtp.mail('a@b.example')
    const replies = []
    for (const to of recipients) replies.push((await smtp.rcpt(to)).line.slice(0, 9))
    await smtp.quit()
    return replies
  }
  return Object.assign(Object.create(haraka) as Haraka, {
    key,
    ask,
    async answers(recipient: string, reply: string, within = 30_000) {
      let last = ''
      await until(
        async () => {
          last = (await ask(recipient))[0] ?? ''
          return last === reply
        },
        () => `${recipient}: ${reply}; it is ${last}\n${haraka.log().slice(-3000)}`,
        within,
      )
    },
  })
}

/** Stops it and removes its key. */
export async function stopEdge(edge: Edge | undefined): Promise<void> {
  await edge?.stop()
  if (edge) rmSync(path.dirname(edge.key.file), { recursive: true, force: true })
}

const CLIENT = { client: '203.0.113.9', local: '10.0.0.5:25' }
