// The part of Haraka's API that the plugin uses. Haraka has no types; these were taken from its source (3.0.3 to
// 3.3.4). Only gal-relay/haraka uses what is not documented.

declare module 'haraka-config/lib/readers/ini' {
  /** Prints the lines that it cannot read. */
  export function parseIni(
    name: string,
    options: { readonly booleans?: readonly string[] },
    text: string,
  ): Readonly<Record<string, Readonly<Record<string, unknown>>>>
}

declare module 'haraka-dsn' {
  /** An enhanced status code with its text (RFC 3463); replaces code and text of a hook's answer. */
  class DSN {
    static create(code: number, text: string, subject: number, detail: number): DSN
    readonly code: number
    readonly reply: string
  }
  export = DSN
}

declare module 'haraka-config' {
  /** Reads the environment variable HARAKA when it is loaded. */
  const config: {
    /** Defaults from the first folder's config/, overridden by the second's. */
    module_config(defaults: string, overrides: string): Haraka.Config
    /** Watches the file's folder as soon as it is loaded. Not in all releases. */
    stop_watching?(name: string): void
  }
  export = config
}

declare module 'haraka-utils' {
  export const rfc1869: {
    /**
     * @param line what follows the verb: `TO:<a@b.example> NOTIFY=NEVER`
     * @returns the path in angle brackets, then the parameters
     * @throws Error when the line is not such a command
     */
    parse(type: 'mail' | 'rcpt', line: string, strict: boolean): string[]
  }
  /** Without control characters. */
  export function sanitize(text: string): string
}

/** Return codes of hooks. Haraka makes these global before it loads a plugin. */
declare const CONT: 900
declare const OK: 906
declare const DENY: 902
declare const DENYSOFT: 903
declare const DENYDISCONNECT: 904
declare const DENYSOFTDISCONNECT: 905
/** In a deny hook: the refusal stands, and no more deny hooks run. */
declare const STOP: 901

declare namespace Haraka {
  type DSN = import('haraka-dsn')
  type ReturnCode = 900 | 901 | 902 | 903 | 904 | 905 | 906
  /** May be called once; calls after that are ignored and logged. */
  type Next = (code?: ReturnCode, message?: string | DSN) => undefined
  /** The `get_mx` hook's: with OK, the hosts to try, in order. */
  type NextMx = (code?: ReturnCode, message?: string | readonly Mx[]) => undefined
  /** A Plugin, an Error or a plain object of fields among the arguments is logged as such. */
  type Log = (...parts: unknown[]) => void

  interface Logger {
    logdebug: Log
    loginfo: Log
    lognotice: Log
    logwarn: Log
    logerror: Log
    logcrit: Log
  }

  /** haraka-config, looking in the package's config/ first and then in the install's. */
  interface Config {
    /**
     * The bytes, or nothing if there is no file; an object if smtp.json or a .js file replaces the ini.
     * @param onChange replaces any callback that was given before
     */
    get(
      name: `${string}.ini`,
      type: 'binary',
      onChange?: () => void,
    ): Buffer | null | Readonly<Record<string, Readonly<Record<string, unknown>>>>
    /** The package's own config folder. */
    readonly root_path: string
    /** The install's config folder. */
    readonly overrides_path?: string
  }

  interface Plugin extends Logger {
    readonly name: string
    readonly config: Config
    /** How long Haraka waits for this plugin's answer, in seconds; 0 means for ever. */
    timeout: number
    /** Lower priorities run earlier, whatever the order in config/plugins. -100 to 100. */
    register_hook(hook: string, method: string, priority?: number): void
    haraka_require<Name extends keyof Modules>(name: Name): Modules[Name]
  }

  /** Requires a module of Haraka, relative to its folder. */
  interface Modules {
    'package.json': { readonly version: string }
    connection: { readonly Connection: object }
    logger: LogLevels
    outbound: Outbound
    plugins: Plugins
  }

  interface LogLevels {
    /** Lines of this level and of lower ones are written. log.ini may change it while Haraka runs. */
    readonly loglevel: number
    readonly levels: Readonly<Record<'INFO' | 'NOTICE', number>>
  }

  interface RegisteredHook {
    /** Its name. */
    readonly plugin: string
    readonly method: string
    readonly priority: number
    readonly order: number
  }

  /** Haraka's list of plugins. */
  interface Plugins {
    /** By hook, in the order in which they are called. */
    readonly registered_hooks: Readonly<Partial<Record<string, RegisteredHook[]>>>
  }

  interface Outbound {
    /** Stores a message in the outbound queue; `done` is called once. */
    send_trans_email(
      transaction: Transaction,
      done: (code: ReturnCode, message?: unknown) => void,
    ): void
    /**
     * Stores one part of a message; send_trans_email calls it on its own `this`, one after the other.
     * 3.0.3 hands in a callback; later it returns a promise.
     */
    process_delivery(
      paths: string[],
      todo: Todo,
      items: QueueItem[],
      callback?: (error?: unknown) => void,
    ): Promise<void> | undefined
    /** Items whose attempt is due. */
    readonly delivery_queue: { push(item: QueueItem): void }
    readonly net_utils: NetUtils
    /** The class of {@link QueueItem}. */
    readonly HMailItem: {
      readonly obtls: { get_tls_options(mx: Partial<Mx>): import('node:tls').ConnectionOptions }
    }
  }

  /** haraka-net-utils */
  interface NetUtils {
    /** MX records; in some releases the domain's own addresses if it has none. */
    get_mx(domain: string, done: (error: Error | null, mxs?: Mx[]) => void): void
    /** IPv4 and IPv6 addresses, with an error for each kind that is missing. */
    get_ips_by_host(name: string, done: (errors: Error[], addresses: string[]) => void): void
    is_local_ip(address: string): boolean
  }

  /** Where an attempt to deliver goes. Haraka copies these fields by name. */
  interface Mx {
    /** Host name or IP address. */
    readonly exchange?: string
    /** A Unix-domain socket, instead of exchange and port. */
    readonly path?: string
    readonly priority: number
    readonly port?: number
    readonly using_lmtp?: boolean
    /** The host name that `exchange` was resolved from, for TLS. Haraka then skips its own addresses. */
    readonly from_dns?: string
  }

  /** The JSON header of a file in the outbound queue. */
  interface Todo {
    domain: string
    readonly uuid: string
    rcpt_to: QueuedAddress[]
    readonly mail_from: Address
    readonly notes: Notes
  }

  /** With its delivery status: `dsn_status`, `reason` and so on. */
  type QueuedAddress = Address & Record<string, unknown>

  /** Of a message that bounces. */
  interface BounceError extends Error {
    /** If only some recipients bounce: those, with their delivery status. */
    readonly bounced_rcpt?: readonly QueuedAddress[]
  }

  /** One message to one domain in the outbound queue; Haraka calls it hmail. */
  interface QueueItem extends Logger {
    readonly todo: Todo
    /** Attempts so far. */
    readonly num_failures: number
    /** Handles the answer of the get_mx hook. */
    get_mx_respond: (code: ReturnCode, message?: unknown) => void
    /** Stores the same message for some of its recipients only. */
    split_to_new_recipients(
      recipients: readonly QueuedAddress[],
      reason: string,
      done: (item: QueueItem) => void,
    ): void
    /** Takes it out of the queue. */
    discard(): void
  }

  /** address-rfc2821, or @haraka/email-address from 3.2 on. */
  interface Address {
    /** As sent, with quotes; '' for the null sender. */
    readonly user: string
    /** Read it with `hostOf`: in 3.2 it is a function that passes for the string. */
    readonly host: string | HostText
    /** Read it with `addressOf`. */
    readonly address: string | (() => string)
    /** `<user@host>` @param ascii with the A-label instead of what was sent */
    format(ascii?: boolean): string
  }

  interface HostText {
    toString(): string
  }

  /** Of MAIL and RCPT, names in upper case; null for one without value. */
  type Parameters = Readonly<Record<string, string | null>>

  interface Notes {
    [key: string]: unknown
    get(path: string): unknown
    set(path: string, value: unknown): void
  }

  interface Results {
    /** With `human`, Haraka does not build the text from all results so far. */
    add(plugin: Plugin, result: Result): void
    /** The plugin's results so far. */
    get(plugin: Plugin): { pass: string[]; fail: string[]; human: string } | undefined
    /** Haraka adds a recipient once it has answered RCPT. */
    get(name: 'rcpt_to'): { readonly recipient?: readonly RecipientResult[] } | undefined
    /** `add` calls this too; it does nothing unless results.ini asks for it. */
    redis_publish(plugin: string, result: Result): void
  }

  interface Result {
    readonly pass?: string
    readonly fail?: string
    readonly human: string
  }

  interface RecipientResult {
    readonly address: string
    readonly action: 'accept' | 'reject' | 'tempfail'
    /** A reply code, or the name of a hook's return code. */
    readonly code?: number | string
    /** Left out where the answer is Haraka's own. */
    readonly msg?: string
  }

  interface Transaction {
    readonly uuid: string
    /** It has ended: it was answered, or the client has gone. */
    readonly resetting: boolean
    readonly mail_from: Address
    rcpt_to: Address[]
    /** RCPTs that Haraka has answered, by outcome. By then {@link rcpt_to} is up to date. */
    readonly rcpt_count: Readonly<Record<'accept' | 'tempfail' | 'reject', number>>
    notes: Notes
    readonly results: Results
    readonly header: {
      get_all(name: string): readonly string[]
    }
  }

  interface Connection extends Logger {
    readonly uuid: string
    /** The hook that is running. */
    readonly hook: string
    /** XCLIENT may leave the addresses undefined. */
    readonly local: { ip?: string | null; port?: number | null }
    readonly remote: {
      ip?: string | null
      host?: string | null
      /** XCLIENT LOGIN. */
      login?: string | null
      readonly closed: boolean
    }
    readonly hello: { readonly host?: string | null }
    readonly client: { readonly localAddress?: string; readonly localPort?: number }
    readonly notes: Notes & { auth_user?: string }
    readonly transaction: Transaction | null
    /** True after an XCLIENT command; the connection's addresses are then the ones it named. */
    readonly xclient?: boolean
    /** Set on the transaction while there is one, otherwise on the connection. */
    relaying: boolean
    respond(code: number, message: string | DSN, done?: () => void): void
    /** The value of the Received line for the transaction. */
    received_line(): string
    disconnect(): void
  }

  type RequestHandler = (
    request: import('node:http').IncomingMessage,
    response: import('node:http').ServerResponse,
    next: () => void,
  ) => void

  interface Server {
    readonly cluster?: { readonly isMaster: boolean }
    /** Where config/http.ini has `listen` and express is installed. */
    readonly http?: { readonly app?: { use(path: string, handler: RequestHandler): void } }
  }
}
