// Searches that bring more entries than a server gives at a time (RFC 2696): page by page, each entry
// handed over as it comes, none kept.
import { BerReader, integer, octets, TAG, tlv } from './ber'
import type { Connection } from './connection'
import { type Control, controlValue } from './controls'
import { DirectoryError, resultError } from './directory-error'
import { bounded } from './limits'
import type { Sink } from './search-result'

export const PAGED_RESULTS = '1.2.840.113556.1.4.319'
/** What Active Directory gives at most (MaxPageSize). */
const PAGE = 1000

export interface PagedSearchOptions {
  /** The server knows the control; else all comes at once, if it comes. */
  readonly paged: boolean
  /** More controls. */
  readonly controls?: readonly Control[]
  /** How long nothing may come, milliseconds. */
  readonly patience: number
  /** Called behind each page; the next one is asked for when it has ended. */
  readonly afterPage?: () => Promise<void>
}

/**
 * @param operation a SearchRequest without size limit
 * @throws DirectoryError unless every page came and ended with success
 */
export async function pagedSearch(
  connection: Connection,
  operation: Buffer,
  sink: Sink,
  { paged, controls = [], patience, afterPage }: PagedSearchOptions,
): Promise<void> {
  let cookie = Buffer.alloc(0)
  const taker = bounded(sink)
  for (;;) {
    const page = { oid: PAGED_RESULTS, critical: true, value: pageValue(cookie) }
    const { result } = connection.stream(operation, taker, {
      controls: paged ? [page, ...controls] : controls,
      patience,
    })
    const { code, diagnostic, controls: returned } = await result
    if (code !== 0) throw resultError(code, diagnostic)
    await afterPage?.()
    if (!paged) return
    const value = controlValue(returned, PAGED_RESULTS)
    if (!value) throw new DirectoryError('protocol', 'a page has no cookie for the next one')
    cookie = nextCookie(value)
    if (cookie.length === 0) return
  }
}

function pageValue(cookie: Buffer): Buffer {
  return tlv(TAG.sequence, integer(PAGE), octets(cookie))
}

function nextCookie(value: Buffer): Buffer<ArrayBuffer> {
  const sequence = new BerReader(value, 0, value.length).expect(TAG.sequence).inside()
  // An estimate of how many there are in all, which nobody relies on.
  sequence.expect(TAG.integer)
  sequence.expect(TAG.octets)
  return Buffer.from(sequence.bytes.subarray(sequence.start, sequence.end))
}
