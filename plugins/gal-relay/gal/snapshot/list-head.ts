// The head of a published list. It tells other servers whether they may use the list, and people
// who published it and when.
import { NORMAL_FORM } from './fingerprint'

export interface ListHead {
  /** Bytes of the list without its changes (file-content.ts), and how many parts it comes in. */
  readonly bytes: number
  readonly parts: number
  /** Fingerprint of the settings that decide what is in the list, in hexadecimal. */
  readonly fingerprint: string
  readonly normal_form: number
  /** How often the publisher confirms the list, milliseconds. */
  readonly changes_every: number
  /** The server that published the list, and when, milliseconds since 1970. */
  readonly published_by: string
  readonly published_at: number
}

/** Size of a part. The last one may be smaller. */
export const PART_BYTES = 256 << 10

export function encodeHead(head: Omit<ListHead, 'parts' | 'normal_form'>): Buffer {
  const parts = Math.ceil(head.bytes / PART_BYTES)
  return Buffer.from(JSON.stringify({ ...head, parts, normal_form: NORMAL_FORM }))
}

/**
 * @param content of a head whose signature is right
 * @throws Error if it comes from a release whose lists are different
 */
export function decodeHead(content: Buffer): ListHead {
  const head = JSON.parse(content.toString('utf8')) as ListHead
  if (head.normal_form === NORMAL_FORM && head.parts === Math.ceil(head.bytes / PART_BYTES))
    return head
  throw new Error('it is from another release of the plugin, with lists of another kind')
}
