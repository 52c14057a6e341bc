// What is wrong with a filter or a DN in the settings.
import { filterFromText } from './filter'
import { parseDN } from './ldapjs'

/** @returns what is wrong with a search filter (RFC 4515), or `undefined` */
export function filterProblem(text: string): string | undefined {
  return problem(() => filterFromText(text))
}

/** @returns what is wrong with a DN (RFC 4514), or `undefined`; an empty DN is valid */
export function dnProblem(text: string): string | undefined {
  // ldapjs ignores a comma with nothing before it.
  if (/^\s*,|[^\\],\s*,/.test(text)) return 'a comma has nothing before it'
  // It would parse as a value that contains a blank, which no domain component does.
  if (/\bdc=[^,]*\sdc=/i.test(text)) return 'a comma is missing between dc= and dc='
  return problem(() => parseDN(text))
}

function problem(parse: () => unknown): string | undefined {
  try {
    parse()
    return undefined
  } catch (error) {
    return error instanceof Error ? error.message : String(error)
  }
}
