// What can go wrong with a directory server, and servers to which it is done.
import type { LdapSettings } from '../../plugins/gal-relay/settings/settings'
import type { Certificate } from '../support/certificates'
import { type Slapd, type SlapdEntry, startSlapd } from '../support/slapd'
import { startTcpProxy, type TcpProxy } from '../support/tcp-proxy'
import { VALID } from './load'

export const TIMES = {
  connect_timeout: 1500,
  query_timeout: 1500,
  answer_within: 6000,
  retry_after: { least: 100, most: 1000 },
} satisfies Partial<LdapSettings>

export interface Site {
  readonly slapd: Slapd
  readonly proxy: TcpProxy
}

export interface FaultOf<T> {
  readonly name: string
  begin(site: T): void | Promise<void>
  end(site: T): void | Promise<void>
}

export type Fault = FaultOf<Site>

export const FAULTS_OF_THE_SERVER: readonly Fault[] = [
  {
    name: 'the server is killed',
    begin: ({ slapd }) => slapd.kill(),
    end: ({ slapd }) => slapd.restart(),
  },
  {
    name: 'the server is stopped: it accepts and never answers',
    begin: ({ slapd }) => slapd.pause(),
    end: ({ slapd }) => slapd.resume(),
  },
  {
    name: 'the base vanishes',
    begin: ({ slapd }) => slapd.move(PEOPLE, `ou=elsewhere,${slapd.base}`),
    end: ({ slapd }) => slapd.move(`ou=people,ou=elsewhere,${slapd.base}`, slapd.base),
  },
  {
    name: 'the directory is emptied and refilled',
    begin: ({ slapd }) => slapd.move(STAFF, `ou=elsewhere,${slapd.base}`),
    end: ({ slapd }) => slapd.move(`ou=staff,ou=elsewhere,${slapd.base}`, PEOPLE),
  },
]

/** No fault where the directory tells of each entry that is deleted. */
export const EMPTIED_BY_AND_BY: Fault = {
  name: 'the directory is emptied and refilled, some entries at a time',
  begin: ({ slapd }) => someAtATime((some) => slapd.delete(...some.map(({ dn }) => dn))),
  end: ({ slapd }) => someAtATime((some) => slapd.add(...some)),
}

async function someAtATime(act: (some: typeof ENTRIES) => Promise<void>): Promise<void> {
  for (let i = 0; i < ENTRIES.length; i += 5) await act(ENTRIES.slice(i, i + 5))
}

/** These need nothing but the proxy. */
export const FAULTS_ON_THE_WAY: readonly FaultOf<Pick<Site, 'proxy'>>[] = [
  {
    name: 'nothing comes back any more, as when a firewall forgot the connection',
    begin: ({ proxy }) => proxy.behave({ kind: 'hang' }),
    end: ({ proxy }) => proxy.behave({ kind: 'pass' }),
  },
  {
    name: 'answers come too late',
    begin: ({ proxy }) => proxy.behave({ kind: 'delay', milliseconds: 9000 }),
    end: ({ proxy }) => proxy.behave({ kind: 'pass' }),
  },
  {
    name: 'random bytes instead of LDAP',
    begin: ({ proxy }) => proxy.behave({ kind: 'garbage' }),
    end: ({ proxy }) => proxy.behave({ kind: 'pass' }),
  },
  {
    name: 'connections are cut in the middle of an answer',
    begin: ({ proxy }) => proxy.behave({ kind: 'cut', after: 9 }),
    end: ({ proxy }) => proxy.behave({ kind: 'pass' }),
  },
  {
    name: 'connections are reset',
    begin: ({ proxy }) => proxy.behave({ kind: 'reset' }),
    end: ({ proxy }) => proxy.behave({ kind: 'pass' }),
  },
]

export const FAULTS: readonly Fault[] = [...FAULTS_OF_THE_SERVER, ...FAULTS_ON_THE_WAY]

export const PEOPLE = 'ou=people,dc=corp,dc=test'
const STAFF = `ou=staff,${PEOPLE}`
const ENTRIES = VALID.map((mail, i) => ({ dn: `uid=r${i},${STAFF}`, mail }))

export interface SiteOptions {
  /** It speaks TLS behind its proxy. */
  readonly tls?: Certificate
  /** Besides those with addresses. */
  readonly entries?: readonly SlapdEntry[]
}

/** A server with the valid addresses of load.ts, behind a proxy. */
export async function site({ tls, entries = [] }: SiteOptions = {}): Promise<Site> {
  const unit = (dn: string) => ({
    dn,
    objectClass: 'organizationalUnit',
    cn: undefined,
    sn: undefined,
    ou: dn.slice(3, dn.indexOf(',')),
  })
  const units = ['ou=elsewhere,dc=corp,dc=test', PEOPLE, STAFF].map(unit)
  const slapd = await startSlapd({ entries: [...entries, ...units, ...ENTRIES], tls })
  return { slapd, proxy: await startTcpProxy(tls ? slapd.tlsPort : slapd.port) }
}

export async function stopSites(...sites: readonly Site[]): Promise<void> {
  for (const { slapd, proxy } of sites) {
    slapd.resume()
    await Promise.all([slapd.stop(), proxy.stop()])
  }
}
