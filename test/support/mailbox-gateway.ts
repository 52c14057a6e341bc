// A Haraka whose directory, a real slapd, says in mailHost on which server each mailbox is, and in
// mailRoutingAddress under which address. Its first listener trusts nobody, its second one trusts 127.0.0.1.

import { type Haraka, type HarakaOptions, startHaraka } from './haraka'
import { freePorts } from './ports'
import { type Slapd, type SlapdEntry, startSlapd } from './slapd'
import { connectSmtp, type TransactionReplies } from './smtp'

export interface MailboxGatewayOptions extends Omit<HarakaOptions, 'ini' | 'ports'> {
  readonly entries: readonly SlapdEntry[]
  /** Lines of `[routes]`. */
  readonly routes: readonly string[]
  /** Lines of `[hosts]`. */
  readonly hosts?: readonly string[]
  /** More lines of gal_relay.ini. @param port of the listener that trusts nobody */
  readonly ini?: (port: number) => string
  /** How long look-ups are cached; default 0s */
  readonly cache?: string
}

export interface MailboxGateway {
  readonly haraka: Haraka
  readonly slapd: Slapd
  /** Has the ini read anew, with these instead of those of the options. */
  set(lines: {
    readonly routes?: readonly string[]
    readonly hosts?: readonly string[]
    readonly ini?: string
  }): Promise<void>
  /** @param options.trusted whether the client may relay; default false */
  send(to: readonly string[], options?: SendOptions): Promise<TransactionReplies>
  stop(): Promise<void>
}

export interface SendOptions {
  readonly from?: string
  readonly trusted?: boolean
}

export const MESSAGE = 'From: a@sender.test\r\nSubject: mailboxes\r\n\r\nHello.\r\n'

export async function startMailboxGateway(options: MailboxGatewayOptions): Promise<MailboxGateway> {
  const { entries, ini = () => '', cache = '0s', routes, hosts = [], ...rest } = options
  const slapd = await startSlapd({ entries })
  const ports = await freePorts(2)
  const [open = 0, trusting = 0] = ports
  let lines = { routes, hosts, ini: ini(open) }
  const text = () =>
    [
      `[routes]\n${lines.routes.join('\n')}`,
      `[hosts]\n${lines.hosts.join('\n')}`,
      `[listener *:${trusting}]\nhosts[] = 127.0.0.1`,
      '[gal]\nhost_attribute = mailHost\nrouting_attribute = mailRoutingAddress',
      `recipient_delimiter = +\ncache_found = ${cache}\ncache_absent = ${cache}\ncache_stale = 0s`,
      `[ldap]\nurl[] = ${slapd.url}\nbase = ${slapd.base}\nretry_after = 1s to 1s`,
      lines.ini,
    ].join('\n')
  const starting = startHaraka({
    plugins: ['test-retry', 'gal-relay', 'test-queue'],
    proxy: false,
    outbound: true,
    ...rest,
    ports,
    ini: text(),
    files: {
      'config/outbound.ini': `disabled=${rest.outbound === false}\ntemp_fail_intervals=5s*40\n`,
      ...rest.files,
    },
  })
  const haraka = await starting.catch(async (error) => {
    await slapd.stop()
    throw error
  })
  return {
    haraka,
    slapd,
    async set(more) {
      lines = { ...lines, ...more }
      await haraka.reload(text())
    },
    async send(to, { from = 'a@sender.test', trusted = false } = {}) {
      const client = await connectSmtp({ port: trusted ? trusting : open })
      await client.ehlo()
      const replies = await client.transaction(from, to, MESSAGE)
      await client.quit()
      return replies
    },
    async stop() {
      await haraka.stop()
      await slapd.stop()
    },
  }
}
