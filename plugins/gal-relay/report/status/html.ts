// HTML in which nothing that is put in can become markup.

/** Text that is markup already. */
export class Html {
  constructor(readonly text: string) {}
}

type Part = string | number | Html | readonly Html[] | undefined | false

/** Escapes every part but {@link Html}; `undefined` and `false` leave nothing. */
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

/** What a stranger sent, fit to be shown: nothing invisible, nothing that turns the text around. */
export function shown(text: string): string {
  const visible = text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, '\ufffd')
  return visible.length > LONGEST ? `${visible.slice(0, LONGEST)}…` : visible
}

const LONGEST = 320
