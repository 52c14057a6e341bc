// What the head of a list says that is on its way to other servers: enough to know whether it may be used
// there, and for people who published it when.
import { NORMAL_FORM } from './fingerprint'

export interface ListHead {
  /** Bytes of the list as it was (file-content.ts), and in how many parts they come. */
  readonly bytes: number
  readonly parts: number
  /** Of the settings that decide what is in it, in hexadecimal. */
  readonly fingerprint: string
  readonly normal_form: number
  /** Milliseconds: how often the publisher confirms it. */
  readonly changes_every: number
  /** The server, and when it published the list, milliseconds since 1970. */
  readonly published_by: string
  readonly published_at: number
}

/** So much is in one part. */
export const PART_BYTES = 256 << 10

export function encodeHead(head: Omit<ListHead, 'parts' | 'normal_form'>): Buffer {
  const parts = Math.ceil(head.bytes / PART_BYTES)
  return Buffer.from(JSON.stringify({ ...head, parts, normal_form: NORMAL_FORM }))
}

/** Of one whose signature is right. @throws Error when it is of another release that has other lists */
export function decodeHead(content: Buffer): ListHead {
  const head = JSON.parse(content.toString('utf8')) as ListHead
  if (head.normal_form === NORMAL_FORM && head.parts === Math.ceil(head.bytes / PART_BYTES))
    return head
  throw new Error('it is from another release of the plugin, with lists of another kind')
}
