// Who may read what of an entry of Active Directory (MS-DTYP 2.4.6, MS-ADTS 5.1.3): the first rule for
// somebody that the account is, and for the attribute, decides.
import { integer, TAG, tlv } from './ber'
import type { Control } from './controls'

/** Its rules alone; all of it is shown to administrators only (MS-ADTS 3.1.1.3.4.1.11). */
export const RULES_ALONE: Control = {
  oid: '1.2.840.113556.1.4.801',
  critical: true,
  value: tlv(TAG.sequence, integer(4)),
}

/** To read a property; rights to everything. */
const READ = 0x10 | 0x80000000 | 0x10000000
/** What a confidential attribute takes beside that. */
const CONTROL_ACCESS = 0x100 | 0x10000000

const DACL_PRESENT = 0x0004
const INHERIT_ONLY = 0x08
/** Types of rules; the others are for audits, or depend on claims. */
const GRANTS = 0
const DENIES = 1
const GRANTS_PROPERTY = 5
const DENIES_PROPERTY = 6

/** An attribute as the schema describes it. */
export interface ProtectedAttribute {
  /** Its GUID and that of its property set, in hexadecimal digits. */
  readonly guids: ReadonlySet<string>
  readonly isConfidential: boolean
}

/**
 * @param descriptor a value of nTSecurityDescriptor
 * @param sids what the account is, in hexadecimal digits
 * @throws RangeError when the descriptor is malformed
 */
export function mayRead(
  descriptor: Buffer,
  sids: ReadonlySet<string>,
  { guids, isConfidential }: ProtectedAttribute,
): boolean {
  const offset = descriptor.readUInt32LE(16)
  // Without rules everybody may do everything.
  if ((descriptor.readUInt16LE(2) & DACL_PRESENT) === 0 || offset === 0) return true
  const rules = rulesAt(descriptor, offset).filter(
    ({ sid, guid }) => sids.has(sid) && (guid === undefined || guids.has(guid)),
  )
  const isGranted = (rights: number) =>
    rules.find(({ mask }) => (mask & rights) !== 0)?.allows ?? false
  return isGranted(READ) && (!isConfidential || isGranted(CONTROL_ACCESS))
}

interface Rule {
  readonly allows: boolean
  readonly mask: number
  readonly sid: string
  /** What it is for; undefined: everything. */
  readonly guid: string | undefined
}

function rulesAt(descriptor: Buffer, offset: number): Rule[] {
  const count = descriptor.readUInt16LE(offset + 4)
  const rules: Rule[] = []
  let at = offset + 8
  for (let i = 0; i < count; i++) {
    const size = descriptor.readUInt16LE(at + 2)
    const rule = ruleOf(descriptor.subarray(at, at + size))
    if (rule) rules.push(rule)
    at += size
  }
  return rules
}

/** @returns undefined for one that is not for the entry itself, or of another type */
function ruleOf(rule: Buffer): Rule | undefined {
  const type = rule.readUInt8(0)
  if ((rule.readUInt8(1) & INHERIT_ONLY) !== 0) return undefined
  const mask = rule.readUInt32LE(4)
  const allows = type === GRANTS || type === GRANTS_PROPERTY
  if (type === GRANTS || type === DENIES)
    return { allows, mask, sid: sidAt(rule, 8), guid: undefined }
  if (type !== GRANTS_PROPERTY && type !== DENIES_PROPERTY) return undefined
  const flags = rule.readUInt32LE(8)
  const hasGuid = (flags & 1) !== 0
  const sid = sidAt(rule, 12 + (hasGuid ? 16 : 0) + ((flags & 2) !== 0 ? 16 : 0))
  return { allows, mask, sid, guid: hasGuid ? rule.toString('hex', 12, 28) : undefined }
}

/** There may be more behind it. */
function sidAt(rule: Buffer, at: number): string {
  return rule.toString('hex', at, at + 8 + 4 * rule.readUInt8(at + 1))
}
