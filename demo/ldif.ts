// Reads the part of LDIF (RFC 2849) that describes entries: comments, folded lines, base64 values.

export interface DirectoryEntry {
  readonly dn: string
  readonly attributes: Readonly<Record<string, readonly string[]>>
}

/** @throws Error that names the line that is not `type: value` */
export function readLdif(text: string): DirectoryEntry[] {
  const records = text
    .replace(/\r?\n /g, '')
    .split(/\r?\n/)
    .filter((line) => !line.startsWith('#'))
    .join('\n')
    .split(/\n{2,}/)
  return records.filter((record) => record.trim()).map(readRecord)
}

function readRecord(record: string): DirectoryEntry {
  let dn = ''
  const attributes: Record<string, string[]> = {}
  for (const line of record.trim().split('\n')) {
    const [, type = '', encoded, text = ''] = /^([\w.;-]+):(:?) *(.*)$/.exec(line) ?? []
    if (!type) throw new Error(`not LDIF: ${line}`)
    const value = encoded ? Buffer.from(text, 'base64').toString('utf8') : text
    if (type === 'dn') dn = value
    else {
      attributes[type] ??= []
      attributes[type].push(value)
    }
  }
  if (!dn) throw new Error(`an LDIF record without a dn: ${record.slice(0, 60)}`)
  return { dn, attributes }
}
