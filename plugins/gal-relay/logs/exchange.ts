// Exchange's message tracking log: comma-separated values, whose columns its `#Fields:` line names.
// A row for a message that came in by SMTP lists all recipients that were accepted.
import type { LoggedRecipient, LogReader, OpenLog } from './event'
import { timeOf } from './event'

/** Messages to remember: a failure more than this many messages later is taken for a reply to RCPT. */
const MESSAGES_MOST = 100_000

export const openExchangeLog: OpenLog = (emit, now): LogReader => {
  let columns = new Map<string, number>()
  /** Messages received: if their delivery fails later, that is no reply to RCPT. */
  const received = new Set<string>()
  /** A value may continue in the next line. */
  let open = ''

  function row(values: readonly string[]): void {
    const value = (name: string) => values[columns.get(name) ?? -1] ?? ''
    const event = value('event-id').toUpperCase()
    if (value('source').toUpperCase() !== 'SMTP' || !(event === 'RECEIVE' || event === 'FAIL'))
      return
    const id = value('internal-message-id') || value('message-id')
    if (event === 'FAIL' && received.has(id)) return
    if (event === 'RECEIVE') {
      const [oldest] = received.size >= MESSAGES_MOST ? received : []
      if (oldest !== undefined) received.delete(oldest)
      received.add(id)
    }
    const statuses = value('recipient-status').split(';')
    const recipients = value('recipient-address')
      .split(';')
      .map((address) => address.trim())
      .filter(Boolean)
      .map((address, index) => recipientOf(event, address, statuses[index] ?? statuses[0] ?? ''))
    if (recipients.length === 0) return
    const sender = value('sender-address')
    emit({
      type: 'transaction',
      at: timeOf(value('date-time'), now),
      client: value('original-client-ip') || value('client-ip'),
      host: value('client-hostname'),
      account: undefined,
      local: undefined,
      sender: sender === '<>' ? '' : sender,
      recipients,
    })
  }

  return {
    line(line) {
      const text = open ? `${open}\n${line}` : line.replace(/^\ufeff/, '')
      if (!open && text.startsWith('#')) {
        const [, names] = /^#Fields: *(.*)$/i.exec(text) ?? []
        if (names) {
          const all = names.split(',').map((name) => name.trim().toLowerCase())
          columns = new Map(all.map((name, place) => [name, place]))
        }
        return
      }
      open = isWhole(text) ? '' : text
      if (open.length > LINE_MOST) open = ''
      else if (!open && text) row(valuesOf(text))
    },
    end() {},
  }
}

const LINE_MOST = 1 << 20

/** Whether all quotes are paired. */
const isWhole = (text: string) => !text.includes('"') || text.split('"').length % 2 === 1

/** RFC 4180 */
function valuesOf(text: string): string[] {
  if (!text.includes('"')) return text.split(',')
  return Array.from(text.matchAll(/(?:^|,)(?:"((?:[^"]|"")*)"|([^,]*))/g), ([, quoted, plain]) => {
    return quoted === undefined ? (plain ?? '') : quoted.replaceAll('""', '"')
  })
}

function recipientOf(event: string, address: string, status: string): LoggedRecipient {
  const unknown = { rule: '', otherReason: '', observed: undefined }
  if (event === 'RECEIVE') return { address, outcome: 'accepted', reply: '', ...unknown }
  const [reply = ''] = /\b[45]\d\d [\d.]*.*/.exec(status.replace(/[\]}]+$/, '')) ?? []
  return { address, outcome: reply.startsWith('4') ? 'deferred' : 'refused', reply, ...unknown }
}
