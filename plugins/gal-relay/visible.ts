// Untrusted text, made safe for a log, a page or a terminal: it may hold characters that
// nobody sees, that reverse the text, or that a terminal interprets.

const PLAIN = /^[\x20-\x7e]*$/
/** Control, format, private and unassigned characters, line ends, and all blanks but the space. */
const UNSEEN = /[\p{C}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}]|(?! )\p{Zs}/gu

/** @returns the text with each such character as its code point: `a<U+202E>b` */
export function visible(text: string): string {
  return PLAIN.test(text) ? text : text.replace(UNSEEN, named)
}

/** Characters that are shown of a server's text. */
const WORDS_MOST = 200

/** The same for a text from a server, of any length: its first 200 characters. */
export function visibleWords(text: string): string {
  return visible(shortened(text, WORDS_MOST))
}

/** The first characters of a text, with a mark if there are more. */
export function shortened(text: string, most: number): string {
  return text.length > most ? `${text.slice(0, most)}…` : text
}

/** @returns the same JSON with each such character escaped, as in `\u202e` */
export function visibleJson(json: string): string {
  return json.replace(UNSEEN, (character) =>
    Array.from({ length: character.length }, (_, i) => {
      return `\\u${character.charCodeAt(i).toString(16).padStart(4, '0')}`
    }).join(''),
  )
}

function named(character: string): string {
  const code = character.codePointAt(0) ?? 0
  return `<U+${code.toString(16).toUpperCase().padStart(4, '0')}>`
}
