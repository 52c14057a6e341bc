// The identity of an entry (RFC 4530), as synchronization has it: 16 bytes, behind the place of a base.

/** With the base, since an entry that moves may enter its new base before it leaves the old one. */
export function idIn(base: number, uuid: Buffer): Buffer {
  return Buffer.concat([Buffer.from([base]), uuid])
}

/** The place of the base, of an {@link idIn} it. */
export const baseIn = (id: Buffer): number => id[0] ?? 0

/** Of an {@link idIn} a base. */
export const uuidIn = (id: Buffer): Buffer => id.subarray(1)

/** Converts an entryUUID from its text form (RFC 4530) to 16 bytes. */
export function uuidOf(name: Buffer): Buffer {
  return Buffer.from(name.toString('latin1').replaceAll('-', ''), 'hex')
}

/** The text form of 16 bytes. */
export function nameOf(uuid: Buffer): string {
  return uuid.toString('hex').replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-')
}
