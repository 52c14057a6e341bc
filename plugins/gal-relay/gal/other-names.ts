// The other names under which a recipient may be in the list: a sub-address (RFC 5233) is looked up as
// it stands, and when it is not in the list, without its detail; an X.500 address in a mail address
// (IMCEAEX) also as what it encapsulates. Never so when the local part asks some later system to send
// the mail onward: taking anything off such a one would accept what the list does not hold.
import { type Recipient, recipientNamed, withoutDetail } from '../routing/recipient'
import { ABSENT, type AddressList, type GalAnswer, stateOfAll } from './address-list'
import { LEGACY_DN, X500_DOMAIN } from './directory/entry-addresses'

/** What `[gal]` says of other names. */
export interface NamingSettings {
  /** Each character is a delimiter; '' for none. */
  readonly recipient_delimiter: string
  readonly attributes: readonly string[]
}

/** @returns the names under which the recipient may be listed besides its own, the longest first */
export type OtherNames = (recipient: Recipient) => readonly Recipient[]

const NONE: readonly Recipient[] = []

/** @returns undefined when the settings want no other names to be looked up */
export function otherNames({
  recipient_delimiter,
  attributes,
}: NamingSettings): OtherNames | undefined {
  const withX500 = attributes.some((name) => name.toLowerCase() === LEGACY_DN)
  if (recipient_delimiter === '' && !withX500) return undefined
  return (recipient) => {
    if (!recipient.routesOnward) return withoutDetail(recipient, recipient_delimiter)
    const legacy = withX500 ? encapsulated(recipient) : undefined
    return legacy ? [legacy] : NONE
  }
}

const IMCEAEX = /^imceaex-(?=_)/i

/** `IMCEAEX-_O=CORP_CN=ANN+20LEE` is `/O=CORP/CN=ANN LEE`: a reply to an address from before a migration. */
function encapsulated({ plainLocal }: Recipient): Recipient | undefined {
  if (!IMCEAEX.test(plainLocal)) return undefined
  const pieces = plainLocal
    .replace(IMCEAEX, '')
    .replaceAll('_', '/')
    .split(/\+([\da-f]{2})/i)
  const bytes = pieces.map((piece, i) => Buffer.from(piece, i % 2 ? 'hex' : 'utf8'))
  return recipientNamed(Buffer.concat(bytes).toString('utf8'), X500_DOMAIN)
}

export class ListWithOtherNames implements AddressList {
  readonly #list: AddressList
  readonly #others: OtherNames

  constructor(list: AddressList, others: OtherNames) {
    this.#list = list
    this.#others = others
  }

  start(): void {
    this.#list.start()
  }

  lookup(recipient: Recipient): GalAnswer | Promise<GalAnswer> {
    const own = this.#list.lookup(recipient)
    const others = this.#others(recipient)
    if (others.length === 0 || (!(own instanceof Promise) && own.state === 'found')) return own
    // At the same time, so that all of them take no longer than one may.
    const answers = [own, ...others.map((other) => this.#list.lookup(other))]
    return areKnown(answers) ? combinedAnswer(answers) : Promise.all(answers).then(combinedAnswer)
  }

  close(): Promise<void> {
    return this.#list.close()
  }
}

function areKnown(answers: readonly (GalAnswer | Promise<GalAnswer>)[]): answers is GalAnswer[] {
  return answers.every((answer) => !(answer instanceof Promise))
}

function combinedAnswer(answers: readonly GalAnswer[]): GalAnswer {
  const all = stateOfAll(answers.map(({ state }) => state))
  return answers.find(({ state }) => state === all) ?? ABSENT
}
