// `name=value` pairs as Haraka writes them; values with blanks or quotes are quoted.

export type Fields = Readonly<Record<string, string>>

const FIELD = / *([\w./-]+)=(?:"((?:[^"\\]|\\.)*)"|([^\s"]*))/y
const ESCAPED = /\\(.)/g
const MEANT: Readonly<Record<string, string>> = { n: '\n', r: '\r' }

/** @returns the pairs that start at `from`, up to the first text that is not one */
export function fieldsOf(text: string, from = 0): Fields {
  const fields: Record<string, string> = {}
  FIELD.lastIndex = from
  for (let found = FIELD.exec(text); found; found = FIELD.exec(text)) {
    const [, name = '', quoted, plain = ''] = found
    fields[name] =
      quoted === undefined
        ? plain
        : quoted.includes('\\')
          ? quoted.replace(ESCAPED, (_, one: string) => MEANT[one] ?? one)
          : quoted
  }
  return fields
}
