// The line in the log for each refused recipient (Q193922, last paragraph).
import type { Reply } from '../routing/decide'

export interface Refusal {
  readonly client: string
  /** Client host name as found by reverse DNS. */
  readonly host: string
  /** The account the client authenticated as; '' when it has not. */
  readonly account: string
  readonly sender: string
  /** As sent. */
  readonly recipient: string
  /** Local address and port the client connected to. */
  readonly listener: string
  readonly rule: string
  readonly reply: string
}

/** `550 5.7.1 Relaying is prohibited` */
export function replyText({ code, status: [subject, detail], text }: Reply): string {
  return `${code} ${Math.floor(code / 100)}.${subject}.${detail} ${text}`
}
