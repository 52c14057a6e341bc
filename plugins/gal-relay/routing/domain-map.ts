// Values by domain: that of the domain itself first, else that of the longest suffix, on whole labels
// (`ms.com` never matches `pms.com`).
import { type SentTo, valueForSuffix } from './routes'

/** @see Q169683 */
export class DomainMap<T> {
  readonly #exact = new Map<string, T>()
  readonly #suffix = new Map<string, T>()

  /** The value written for just that pattern. */
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

  /** The value for each subdomain of the domain that has none of its own. */
  findSuffix(domain: string): T | undefined {
    return valueForSuffix(this.#suffix, domain)
  }
}
