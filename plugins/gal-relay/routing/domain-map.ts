// Values by domain: the value of the domain itself or, failing that, of its longest suffix on whole labels
// (`ms.com` never matches `pms.com`).
import { type SentTo, valueForSuffix } from './routes'

/** @see Q169683 */
export class DomainMap<T> {
  readonly #exact = new Map<string, T>()
  readonly #suffix = new Map<string, T>()

  /** The value set for exactly this pattern. */
  get({ match, domain }: SentTo): T | undefined {
    return (match === 'exact' ? this.#exact : this.#suffix).get(domain)
  }

  set({ match, domain }: SentTo, value: T): void {
    const values = match === 'exact' ? this.#exact : this.#suffix
    values.set(domain, value)
  }

  values(): readonly T[] {
    return [...this.#exact.values(), ...this.#suffix.values()]
  }

  /** @param domain lower-case A-label or canonical address literal */
  find(domain: string): T | undefined {
    return this.#exact.get(domain) ?? this.findSuffix(domain)
  }

  /** The value for all subdomains of this domain that have none of their own. */
  findSuffix(domain: string): T | undefined {
    return valueForSuffix(this.#suffix, domain)
  }
}
