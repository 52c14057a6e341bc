// Controls (RFC 4511 §4.1.11): what requests and responses say besides the operation itself.
import { type BerReader, boolean, MalformedBer, octets, TAG, tlv } from './ber'

export interface Control {
  readonly oid: string
  /** A server that does not support the control must refuse the request. */
  readonly critical?: boolean
  readonly value?: Buffer
}

const CONTROLS = 0xa0
/** The most controls in one message. */
const MOST = 100

export function encodeControls(controls: readonly Control[]): Buffer {
  return tlv(
    CONTROLS,
    ...controls.map(({ oid, critical, value }) =>
      tlv(
        TAG.sequence,
        octets(oid),
        ...(critical ? [boolean(true)] : []),
        ...(value ? [octets(value)] : []),
      ),
    ),
  )
}

const NONE: readonly Control[] = []

/** @param message a reader positioned after the operation */
export function readControls(message: BerReader): readonly Control[] {
  if (!message.more) return NONE
  if (message.next() !== CONTROLS) return NONE
  const controls: Control[] = []
  const list = message.inside()
  while (list.more) {
    if (controls.length === MOST) throw new MalformedBer(`more than ${MOST} controls`)
    const control = list.expect(TAG.sequence).inside()
    const oid = control.expect(TAG.octets).text()
    let critical = false
    let value: Buffer | undefined
    while (control.more) {
      const tag = control.next()
      if (tag === TAG.boolean) critical = control.bytes[control.start] !== 0
      if (tag === TAG.octets) value = control.bytes.subarray(control.start, control.end)
    }
    controls.push({ oid, critical, value })
  }
  return controls
}

export function controlValue(controls: readonly Control[], oid: string): Buffer | undefined {
  return controls.find((control) => control.oid === oid)?.value
}
