// Postfix's maillog. smtpd logs a refusal at once, but that it accepted a recipient only shows in
// the line of the delivery agent, so a message is kept until it has left the queue.
import type { LocalAddress, LoggedRecipient, LogReader, OpenLog } from './event'
import { timeOf } from './event'

/** The most messages to keep: no queue has more. Beyond this, the oldest are emitted as they are. */
const MESSAGES_MOST = 200_000

interface Message {
  at: number | undefined
  client: string
  host: string
  account: string
  local: LocalAddress | undefined
  sender: string
  /** Whether it came in by SMTP from outside. */
  isReceived: boolean
  readonly recipients: Map<string, LoggedRecipient>
}

const LINE = /\bpostfix[\w.-]*\/((?:[\w-]+\/)*[\w-]+)\[\d+\]: (?:([0-9A-Za-z]+): )?(.*)$/
const CLIENT = /^client=([^[]*)\[([^\]]*)\](?::\d+)?(?=,|$)/
const ACCOUNT = /, sasl_username=([^,]*?)(?:, sasl_sender=|, orig_|$)/
const REJECT = /^reject: RCPT from ([^[]*)\[([^\]]*)\](?::\d+)?: ((\d)\d\d .*)$/
/** The envelope comes last; the text of the refusal before it may contain anything. */
const ENVELOPE =
  /^(.*); from=<(.*?)> to=<(.*)> proto=\S+(?: helo=<.*?>)?(?: sasl_username=<?([^>]*?)>?)?$/
const SENDER = /^from=<(.*)>, size=\d+, nrcpt=/
const DELIVERED = /^to=<(.*?)>, (?:orig_to=<(.*?)>, )?(?:relay|conn_use|delay)=/
/** Refused because of the recipient, not because of client, sender or HELO. */
const ABOUT_RECIPIENT =
  /^\d{3} [\d. ]*<.*>: (?:Recipient address rejected|Relay access denied|User unknown)/
const OTHER = /^\d{3} (?:\d\.\d+\.\d+ )?(?:<.*?>: )?([^;:]*)/

/** By the usual names in master.cf (`-o syslog_name=postfix/submission`). */
const PORTS: Readonly<Record<string, number>> = { submission: 587, submissions: 465, smtps: 465 }

export const openPostfixLog: OpenLog = (emit, now): LogReader => {
  const messages = new Map<string, Message>()

  function messageOf(id: string): Message {
    const known = messages.get(id)
    if (known) return known
    const [oldest] = messages.size >= MESSAGES_MOST ? messages.keys() : []
    if (oldest !== undefined) finish(oldest)
    const message = newMessage()
    messages.set(id, message)
    return message
  }

  function finish(id: string): void {
    const message = messages.get(id)
    messages.delete(id)
    if (!message?.isReceived || message.recipients.size === 0) return
    const { isReceived: _, recipients, ...rest } = message
    emit({ type: 'transaction', ...rest, recipients: [...recipients.values()] })
  }

  function received(id: string, service: string, text: string, line: string): void {
    const [, host = '', client = ''] = CLIENT.exec(text) ?? []
    // The same message, returned by a content filter.
    if (!client || text.includes(', orig_queue_id=')) return
    Object.assign(messageOf(id), {
      at: timeOf(line, now),
      client,
      host,
      account: ACCOUNT.exec(text)?.[1] ?? '',
      local: localOf(service),
      isReceived: true,
    })
  }

  function refused(id: string, service: string, text: string, line: string): void {
    const [, host = '', client = '', rest = '', digit = ''] = REJECT.exec(text) ?? []
    const [, reply = '', sender = '', address = '', account = ''] = ENVELOPE.exec(rest) ?? []
    if (!client || !reply) return
    const recipient: LoggedRecipient = {
      address,
      outcome: digit === '5' ? 'refused' : 'deferred',
      reply,
      rule: '',
      otherReason: ABOUT_RECIPIENT.test(reply) ? '' : (OTHER.exec(reply)?.[1]?.trim() ?? 'another'),
      observed: undefined,
    }
    const at = timeOf(line, now)
    const local = localOf(service)
    const known = messages.get(id)
    if (known) known.recipients.set(`refused ${known.recipients.size}`, recipient)
    else {
      const recipients = [recipient]
      emit({ type: 'transaction', at, client, host, account, local, sender, recipients })
    }
  }

  return {
    line(line) {
      const [, service = '', id = '', text = ''] = LINE.exec(line) ?? []
      if (!service) return
      if (service.endsWith('smtpd')) {
        if (text.startsWith('client=')) received(id, service, text, line)
        else if (text.startsWith('reject: RCPT')) refused(id, service, text, line)
        return
      }
      const known = messages.get(id)
      if (!known) return
      if (service.endsWith('qmgr')) {
        if (text === 'removed') finish(id)
        else known.sender = SENDER.exec(text)?.[1] ?? known.sender
        return
      }
      const [, to = '', original = to] = DELIVERED.exec(text) ?? []
      if (to) known.recipients.set(original, accepted(original))
    },
    end() {
      for (const id of [...messages.keys()]) finish(id)
    },
  }
}

function newMessage(): Message {
  const unknown = { at: undefined, client: '', host: '', account: '', local: undefined, sender: '' }
  return { ...unknown, isReceived: false, recipients: new Map() }
}

function accepted(address: string): LoggedRecipient {
  const unknown = { reply: '', rule: '', otherReason: '', observed: undefined }
  return { address, outcome: 'accepted', ...unknown }
}

function localOf(service: string): LocalAddress | undefined {
  const [name = ''] = service.split('/')
  const port = PORTS[name]
  return port === undefined ? undefined : { address: '', port }
}
