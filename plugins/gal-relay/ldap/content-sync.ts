// The messages of the LDAP content synchronization operation (RFC 4533).
import { BerReader, enumerated, TAG, tlv } from './ber'
import { type Control, controlValue } from './controls'
import { DirectoryError } from './directory-error'

export const SYNC_REQUEST = '1.3.6.1.4.1.4203.1.9.1.1'
const SYNC_STATE = '1.3.6.1.4.1.4203.1.9.1.2'
/** An intermediate response. */
export const SYNC_INFO = '1.3.6.1.4.1.4203.1.9.1.4'

/** Modes of a request (§2.2). */
export const REFRESH_ONLY = 1
export const REFRESH_AND_PERSIST = 3
/** The state of a deleted entry (§2.3). */
const DELETED = 3
/** Length of an entryUUID in bytes. */
const UUID = 16
/** Choices of syncInfoValue (§2.5). */
const REFRESH_DELETE = 0xa1
const REFRESH_PRESENT = 0xa2
const ID_SET = 0xa3

/** Without a cookie, so the server sends the whole content. */
export const syncRequest = (mode: typeof REFRESH_ONLY | typeof REFRESH_AND_PERSIST): Control => ({
  oid: SYNC_REQUEST,
  critical: true,
  value: tlv(TAG.sequence, enumerated(mode)),
})

/** @param controls of an entry @throws DirectoryError if they do not include the state */
export function readSyncState(controls: readonly Control[]): {
  readonly uuid: Buffer
  readonly isDeleted: boolean
} {
  const value = controlValue(controls, SYNC_STATE)
  if (!value) throw new DirectoryError('protocol', 'an entry without its synchronization state')
  const state = new BerReader(value, 0, value.length).expect(TAG.sequence).inside()
  const kind = state.expect(TAG.enumerated).number()
  state.expect(TAG.octets)
  return { uuid: value.subarray(state.start, state.end), isDeleted: kind === DELETED }
}

export interface SyncInfo {
  readonly deleted: readonly Buffer[]
  readonly refreshDone: boolean
}

/** @param value the value of a {@link SYNC_INFO} */
export function readSyncInfo(value: Buffer): SyncInfo {
  const reader = new BerReader(value, 0, value.length)
  const choice = reader.next()
  const deleted: Buffer[] = []
  if (choice === REFRESH_DELETE || choice === REFRESH_PRESENT) {
    // After the cookie comes refreshDone, which defaults to TRUE.
    return { deleted, refreshDone: booleanIn(reader.inside()) ?? true }
  }
  if (choice === ID_SET) {
    const parts = reader.inside()
    let areDeleted = false
    while (parts.more) {
      const tag = parts.next()
      if (tag === TAG.boolean) areDeleted = value[parts.start] !== 0
      if (tag !== TAG.set || !areDeleted) continue
      const set = parts.inside()
      while (set.more) {
        set.expect(TAG.octets)
        if (set.end - set.start !== UUID) throw new DirectoryError('protocol', 'a bad entryUUID')
        deleted.push(value.subarray(set.start, set.end))
      }
    }
  }
  return { deleted, refreshDone: false }
}

function booleanIn(reader: BerReader): boolean | undefined {
  while (reader.more) {
    if (reader.next() === TAG.boolean) return reader.bytes[reader.start] !== 0
  }
  return undefined
}
