// Searches with more results than a server returns at a time (RFC 2696). They are read page by
// page; each entry is handed over as it arrives, and none is kept.
import { BerReader, integer, octets, TAG, tlv } from './ber'
import type { Connection } from './connection'
import { type Control, controlValue } from './controls'
import {
  ADMIN_LIMIT_EXCEEDED,
  DirectoryError,
  resultError,
  SIZE_LIMIT_EXCEEDED,
} from './directory-error'
import { bounded } from './limits'
import type { Sink } from './search-result'

export const PAGED_RESULTS = '1.2.840.113556.1.4.319'
/** The most entries that Active Directory returns in a page (MaxPageSize). */
const PAGE = 1000
/** Smaller ones are not tried. */
const SMALLEST = 10
/** Some proxies refuse what their own root DSE offers. */
const UNAVAILABLE_CRITICAL_EXTENSION = 12

/** Results that may be due to the control. */
const OF_PAGES: ReadonlySet<number> = new Set([
  SIZE_LIMIT_EXCEEDED,
  // So OpenLDAP refuses larger pages than `limits … size.pr`, or any.
  ADMIN_LIMIT_EXCEEDED,
  UNAVAILABLE_CRITICAL_EXTENSION,
])

export interface PagedSearchOptions {
  /** The server supports the control; otherwise all entries come at once, if they come at all. */
  readonly paged: boolean
  /** Additional controls. */
  readonly controls?: readonly Control[]
  /** How long the server may be silent, in milliseconds. */
  readonly patience: number
  /** Called after each page; the next page is requested when it has finished. */
  readonly afterPage?: () => Promise<void>
}

/**
 * A server that passes the control by, as OpenLDAP's back-meta does, or has a limit for pages alone
 * (`limits … size.prtotal`), is asked again without it: entries that have been handed over come once more.
 *
 * @param operation a SearchRequest without a size limit
 * @throws DirectoryError unless every page arrived and ended with success
 */
export async function pagedSearch(
  connection: Connection,
  operation: Buffer,
  sink: Sink,
  { paged, controls = [], patience, afterPage }: PagedSearchOptions,
): Promise<void> {
  let cookie = Buffer.alloc(0)
  let size = PAGE
  let isPaged = paged
  let count = 0
  const taker = bounded({
    ...sink,
    entry(entry, entryControls) {
      count++
      sink.entry(entry, entryControls)
    },
  })
  for (;;) {
    const page = { oid: PAGED_RESULTS, critical: true, value: pageValue(size, cookie) }
    const { result } = connection.stream(operation, taker, {
      controls: isPaged ? [page, ...controls] : controls,
      patience,
    })
    const { code, diagnostic, controls: returned } = await result
    if (isPaged && OF_PAGES.has(code)) {
      const mayBeSize = code === ADMIN_LIMIT_EXCEEDED && count === 0 && size > SMALLEST
      if (mayBeSize) size = Math.floor(size / 2)
      else isPaged = false
      continue
    }
    if (code !== 0) throw resultError(code, diagnostic)
    await afterPage?.()
    if (!isPaged) return
    const value = controlValue(returned, PAGED_RESULTS)
    if (value) {
      cookie = nextCookie(value)
      if (cookie.length === 0) return
    } else if (cookie.length === 0) isPaged = false
    else throw new DirectoryError('protocol', 'a page has no cookie for the next one')
  }
}

function pageValue(size: number, cookie: Buffer): Buffer {
  return tlv(TAG.sequence, integer(size), octets(cookie))
}

function nextCookie(value: Buffer): Buffer<ArrayBuffer> {
  const sequence = new BerReader(value, 0, value.length).expect(TAG.sequence).inside()
  // The server's estimate of the total number of entries, which is not used.
  sequence.expect(TAG.integer)
  sequence.expect(TAG.octets)
  return Buffer.from(sequence.bytes.subarray(sequence.start, sequence.end))
}
