// Finds the servers of a domain by its DNS SRV records `_ldap._tcp` (RFC 2782), with which Active
// Directory announces its domain controllers.
import type { SrvRecord } from 'node:dns'
import { resolveSrv } from 'node:dns/promises'
import { later, unattended } from '../guard'
import type { Log } from '../log'
import { DirectoryError, directoryError } from './directory-error'
import type { Endpoint, LdapOptions } from './options'

/** Servers come and go slowly. */
const REFRESH_INTERVAL = 300_000
/** Used if there was no answer, or if none of the domain's servers is up. */
const RETRY_INTERVAL = 5000

export class SrvSource {
  readonly name: string
  /** Why there are no endpoints, or why the last look-up failed. */
  error: DirectoryError | undefined
  /** The servers in the order in which they are asked; `undefined` before the first answer. */
  endpoints: readonly Endpoint[] | undefined

  readonly #domain: string
  readonly #timeout: number
  readonly #log: Log
  readonly #onChange: () => void
  #records = ''
  #timer: NodeJS.Timeout | undefined
  #started = false
  #closed = false

  constructor(domain: string, ldap: LdapOptions, log: Log, onChange: () => void) {
    this.name = `srv://${domain}`
    this.#domain = domain
    this.#timeout = ldap.connect_timeout
    this.#log = log
    this.#onChange = onChange
  }

  /** Queries DNS in the background, now and from time to time. */
  start(): void {
    if (this.#started) return
    this.#started = true
    unattended('DNS look-up of servers', () => this.#resolve(), this.#resolveAgain)
  }

  /** Queries again soon: none of its servers is up, and there may be new ones. */
  hurry(): void {
    if (this.#timer) this.#schedule(RETRY_INTERVAL)
  }

  close(): void {
    this.#closed = true
    clearTimeout(this.#timer)
  }

  async #resolve(): Promise<void> {
    this.#timer = undefined
    try {
      const records = await recordsOf(this.#domain, this.#timeout)
      if (this.#closed) return
      this.error = undefined
      this.#take(records)
      this.#schedule(REFRESH_INTERVAL)
    } catch (thrown) {
      if (this.#closed) return
      this.#failed(directoryError(thrown))
      this.#schedule(RETRY_INTERVAL)
    }
  }

  #take(records: readonly SrvRecord[]): void {
    // Unchanged records keep the order that was drawn for them.
    const text = JSON.stringify(records.map((r) => [r.name, r.port, r.priority, r.weight]).sort())
    if (text === this.#records) return
    this.#records = text
    this.endpoints = endpointsIn(records, this.#domain)
    const names = this.endpoints.map(({ name }) => name)
    this.#log.info(`directory ${this.name}: ${names.join(', ') || 'no servers'}`)
    if (names.length === 0)
      this.error = new DirectoryError('connection', `${this.name}: no servers`)
    this.#onChange()
  }

  #failed({ message }: DirectoryError): void {
    const text = `${this.name}: ${message}`
    if (this.error?.message === text) return
    this.error = new DirectoryError('connection', text)
    this.#log.warn(`directory ${text}`)
    // Servers found before are presumably still there.
    this.endpoints ??= []
    this.#onChange()
  }

  #schedule(delay: number): void {
    clearTimeout(this.#timer)
    const work = () => this.#resolve()
    const moment = delay * (0.75 + Math.random() / 2)
    this.#timer = later(moment, 'DNS look-up again', work, this.#resolveAgain)
  }

  readonly #resolveAgain = () => {
    if (!this.#closed) this.#schedule(RETRY_INTERVAL)
  }
}

/**
 * @param service `_gc._tcp` for the Global Catalogs of an Active Directory forest (its root domain)
 * @returns the domain's current servers, in the order in which they are asked
 */
export async function findServers(
  domain: string,
  timeout: number,
  service: '_ldap._tcp' | '_gc._tcp' = '_ldap._tcp',
): Promise<Endpoint[]> {
  return endpointsIn(await recordsOf(domain, timeout, service), domain)
}

function recordsOf(domain: string, timeout: number, service = '_ldap._tcp'): Promise<SrvRecord[]> {
  return within(timeout, resolveSrv(`${service}.${domain}`))
}

function endpointsIn(records: readonly SrvRecord[], domain: string): Endpoint[] {
  return (
    inOrder(records)
      // A lone "." means that there is no such service (RFC 2782).
      .filter(({ name }) => name !== '' && name !== '.')
      .map(({ name, port }) => ({
        tls: false,
        host: name,
        port,
        name: `ldap://${name}:${port}`,
        domain,
      }))
  )
}

/** Orders records by priority, and within a priority at random according to weight (RFC 2782). */
export function inOrder(records: readonly SrvRecord[], random = Math.random): SrvRecord[] {
  const left = [...records].sort((a, b) => a.priority - b.priority || a.weight - b.weight)
  const ordered: SrvRecord[] = []
  while (left.length > 0) {
    const priority = left[0]?.priority
    const group = left.filter((record) => record.priority === priority)
    const total = group.reduce((sum, { weight }) => sum + weight, 0)
    let point = random() * total
    const chosen = group.find(({ weight }) => {
      point -= weight
      return point < 0
    })
    const record = chosen ?? group[group.length - 1]
    if (!record) break
    left.splice(left.indexOf(record), 1)
    ordered.push(record)
  }
  return ordered
}

function within<T>(milliseconds: number, promise: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const late = () => reject(new DirectoryError('timeout', `no DNS answer in ${milliseconds} ms`))
    const timer = later(milliseconds, 'DNS time-out', late, late)
    resolve(promise.finally(() => clearTimeout(timer)))
  })
}
