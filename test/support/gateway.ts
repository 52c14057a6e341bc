// A Haraka for the tests of delivery: it has the plugin and an embedded directory, and really delivers mail.
// The ini's section of the directory is written here.
import { type EmbeddedLdap, startEmbeddedLdap } from './embedded-ldap'
import { type Haraka, type HarakaOptions, startHaraka } from './haraka'
import { connectSmtp, type SmtpClient } from './smtp'

export interface GatewayOptions extends Omit<HarakaOptions, 'ini'> {
  /** Lines of `[routes]`. */
  readonly routes: readonly string[]
  /** More lines of gal_relay.ini; the default lets 127.0.0.1 relay. */
  readonly ini?: string
  /** Addresses in the directory. */
  readonly people?: readonly string[]
  /** Lines of outbound.ini. */
  readonly outboundIni?: readonly string[]
}

export interface Gateway extends Haraka {
  /** Has the ini read anew with these routes. */
  setRoutes(routes: readonly string[]): Promise<void>
  /** Has the ini read anew with this instead of the `ini` of the options. */
  setIni(ini: string): Promise<void>
  /** A client that has sent EHLO. @param address where it comes from, with `proxy: true` only */
  client(address?: string): Promise<SmtpClient>
}

export const LET_LOCAL_RELAY = '[restrictions]\nhosts[] = 127.0.0.1\n'

export async function startGateway(options: GatewayOptions): Promise<Gateway> {
  const { people = [], outboundIni = [], ...rest } = options
  let { routes, ini = LET_LOCAL_RELAY } = options
  const ldap = await startEmbeddedLdap(people)
  const written = () => galRelayIni(ldap, routes, ini)
  const haraka = await startHaraka({
    plugins: ['test-retry', 'gal-relay', 'test-queue'],
    proxy: false,
    outbound: true,
    ...rest,
    ini: written(),
    files: {
      'config/outbound.ini': `${['temp_fail_intervals=5s*20', ...outboundIni].join('\n')}\n`,
      ...rest.files,
    },
  })
  return Object.assign(Object.create(haraka) as Haraka, {
    setRoutes(rows: readonly string[]) {
      routes = rows
      return haraka.reload(written())
    },
    setIni(more: string) {
      ini = more
      return haraka.reload(written())
    },
    async client(address?: string) {
      const proxy = address === undefined ? undefined : { client: address, local: '10.0.0.5:25' }
      const client = await connectSmtp({ port: haraka.port, proxy })
      await client.ehlo()
      return client
    },
    async stop(signal?: NodeJS.Signals) {
      const exit = await haraka.stop(signal)
      await ldap.stop()
      return exit
    },
  })
}

function galRelayIni(ldap: EmbeddedLdap, routes: readonly string[], more: string): string {
  return `[routes]\n${routes.join('\n')}\n${more}\n[ldap]\nurl[] = ${ldap.url}\nbase = ${ldap.base}\n`
}
