// LDIF (RFC 2849) for the entries that tests put into real directories.

/** One value or several; `undefined` leaves the attribute out. */
export type Values = string | readonly string[] | undefined
export type Attributes = Readonly<Record<string, Values>>

/** A record of an entry. Values are in base64, so they may be any text. */
export function ldifEntry(dn: string, attributes: Attributes): string {
  return `${[ldifLine('dn', dn), ...attributeLines(attributes)].join('\n')}\n\n`
}

/** A change record that replaces the given attributes; an empty list of values removes one. */
export function ldifReplace(dn: string, attributes: Attributes): string {
  return `${[ldifLine('dn', dn), 'changetype: modify', ...replacements(attributes)].join('\n')}\n\n`
}

/** A change record that restores a deleted entry in Active Directory (MS-ADTS 3.1.1.5.3.7). */
export function ldifRestore(deleted: string, dn: string, attributes: Attributes): string {
  const changes = replacements({ distinguishedName: dn, ...attributes })
  const lines = ['changetype: modify', 'delete: isDeleted', '-', ...changes]
  return `${[ldifLine('dn', deleted), ...lines].join('\n')}\n\n`
}

/** A change record that deletes the entry. */
export function ldifDelete(dn: string): string {
  return `${ldifLine('dn', dn)}\nchangetype: delete\n\n`
}

/** A change record that moves the entry and all entries below it, under a new name if one is given. */
export function ldifMove(dn: string, newSuperior: string, newRdn?: string): string {
  const lines = [
    ldifLine('dn', dn),
    'changetype: modrdn',
    ldifLine('newrdn', newRdn ?? dn.slice(0, dn.indexOf(','))),
    'deleteoldrdn: 1',
    ldifLine('newsuperior', newSuperior),
  ]
  return `${lines.join('\n')}\n\n`
}

/** A change record that adds the entry. */
export function ldifAdd(dn: string, attributes: Attributes): string {
  return `${[ldifLine('dn', dn), 'changetype: add', ...attributeLines(attributes)].join('\n')}\n\n`
}

function replacements(attributes: Attributes): string[] {
  return Object.entries(attributes).map(([type, values]) =>
    [`replace: ${type}`, ...attributeLines({ [type]: values }), '-'].join('\n'),
  )
}

function attributeLines(attributes: Attributes): string[] {
  return Object.entries(attributes).flatMap(([type, values]) =>
    (values === undefined ? [] : [values].flat()).map((value) => ldifLine(type, value)),
  )
}

function ldifLine(type: string, value: string): string {
  return `${type}:: ${Buffer.from(value, 'utf8').toString('base64')}`
}
