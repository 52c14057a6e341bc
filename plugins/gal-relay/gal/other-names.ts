// Other names under which a recipient may be listed: a sub-address (RFC 5233) is looked up as
// written and without its detail, an X.500 address in a mail address (IMCEAEX) also as what it
// encapsulates. Nothing is stripped from a local part that asks a later system to send the mail
// onward: that would accept what the list does not hold.
import { type Recipient, recipientNamed, withoutDetail } from '../routing/recipient'
import { ABSENT, type AddressList, type GalAnswer, stateOfAll } from './address-list'
import { LEGACY_DN, X500_DOMAIN } from './directory/entry-addresses'

/** The `[gal]` settings for other names. */
export interface NamingSettings {
  /** Each character is a delimiter; '' means none. */
  readonly recipient_delimiter: string
  readonly attributes: readonly string[]
}

/** @returns the names besides its own under which the recipient may be listed, longest first */
export type OtherNames = (recipient: Recipient) => readonly Recipient[]

const NONE: readonly Recipient[] = []

/** @returns `undefined` if the settings ask for no other names */
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

/**
 * `IMCEAEX-_O=CORP_CN=ANN+20LEE` is `/O=CORP/CN=ANN LEE`. Replies to addresses from before a
 * migration are sent to such names.
 */
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
    // In parallel, so that together they take no longer than a single look-up may.
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
