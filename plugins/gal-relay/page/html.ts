// HTML in which no inserted text can become markup.
import { visible } from '../visible'

/** Text that already is markup. */
export class Html {
  constructor(readonly text: string) {}
}

type Part = string | number | Html | readonly Html[] | undefined | false

/** Escapes all parts except {@link Html}; `undefined` and `false` produce nothing. */
export function html(literals: TemplateStringsArray, ...parts: readonly Part[]): Html {
  const text = literals.reduce(
    (before, literal, index) => before + markup(parts[index - 1]) + literal,
  )
  return new Html(text)
}

function markup(part: Part): string {
  if (part === undefined || part === false) return ''
  if (part instanceof Html) return part.text
  if (typeof part === 'object') return part.map(({ text }) => text).join('')
  return String(part).replace(/[&<>"']/g, (sign) => `&#${sign.charCodeAt(0)};`)
}

/** Makes a stranger's text fit to show: all of it visible, and not endless. */
export function shown(text: string): string {
  const flat = text.replace(STACKED, '$1…')
  if (flat.length <= LONGEST) return visible(flat)
  return visible(`${flat.slice(0, LONGEST).replace(HALF_A_CHARACTER, '')}…`)
}

const LONGEST = 320
const HALF_A_CHARACTER = /[\ud800-\udbff]$/
/** Marks stacked above and below a letter, which could reach any height. */
const STACKED = /(\p{M}{4})\p{M}+/gu
