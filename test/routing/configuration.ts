// What the answers to recipients depend on, in the rulebook's words.

export interface Row {
  /** `a.test`, `@a.test`, `[192.0.2.7]` or `ann@a.test`, lower case. */
  readonly sentTo: string
  readonly kind: 'inbound' | 'shared' | 'always-relay' | 'forward' | 'accept' | 'refuse' | 'reroute'
  /** As explain shows them, with the port. */
  readonly hops: readonly string[]
  /** Of `reroute`: a domain or an address. */
  readonly target?: string
}

export interface GalEntry {
  /** Plain form, lower case. */
  readonly address: string
  readonly staffOnly: boolean
  readonly host?: string
  readonly routing?: string
}

export interface Directory {
  readonly name: string
  readonly domains: readonly string[]
  readonly delimiters: string
  readonly isDown: boolean
  readonly entries: readonly GalEntry[]
}

/** Keys of `[routing]`, `[restrictions]` and `[main]`. */
export interface ListenerKeys {
  readonly enabled: boolean
  readonly reroute: boolean
  readonly host_list: boolean
  readonly mixed: 'split' | 'defer'
  readonly authenticated: boolean
  readonly open: boolean
  readonly hosts: readonly string[]
  readonly never: readonly string[]
  readonly local_addresses: readonly string[]
  readonly never_accounts: readonly string[]
}

export interface Configuration {
  readonly rows: readonly Row[]
  readonly hostList: readonly string[]
  readonly general: ListenerKeys
  /** By `10.0.0.5:25`, `10.0.0.5:*`, `*:25`. */
  readonly listeners: Readonly<Record<string, Partial<ListenerKeys>>>
  readonly anyDomain: boolean
  readonly alwaysAccept: readonly string[]
  /** The default one first, named `default`, if there is one. */
  readonly directories: readonly Directory[]
  /** `[hosts]`, by the value in lower case; no hops: `local`. */
  readonly hosts: Readonly<Record<string, readonly string[]>>
  /** Host names and addresses that are this server's own. */
  readonly own: readonly string[]
}

export interface Session {
  readonly client: string
  readonly address: string
  readonly port: number
  readonly account: string | undefined
}

/** A recipient as it was sent; no domain: `<postmaster>`. */
export interface Sent {
  readonly local: string
  readonly domain: string
}
