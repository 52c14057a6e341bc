// `name=value` pairs as Haraka writes them: a value with blanks or quotes in it is quoted.

export type Fields = Readonly<Record<string, string>>

const FIELD = / *([\w./-]+)=(?:"((?:[^"\\]|\\.)*)"|([^\s"]*))/y
const ESCAPED = /\\(.)/g
const MEANT: Readonly<Record<string, string>> = { n: '\n', r: '\r' }

/** @returns those from that place on, up to what is none */
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
