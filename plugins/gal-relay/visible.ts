// Untrusted text, made safe for a log, a page or a terminal: it may hold characters that
// nobody sees, that reverse the text, or that a terminal interprets.

const PLAIN = /^[\x20-\x7e]*$/
/** Control, format, private and unassigned ones, line ends, and blanks that are not the blank. */
const UNSEEN = /[\p{C}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}]|(?! )\p{Zs}/gu

/** @returns the text with each such character as its code point: `a<U+202E>b` */
export function visible(text: string): string {
  return PLAIN.test(text) ? text : text.replace(UNSEEN, named)
}

/** How many characters of a server's text are shown. */
const WORDS_MOST = 200

/** The same for a text from a server, of any length: its first 200 characters. */
export function visibleWords(text: string): string {
  return visible(shortened(text, WORDS_MOST))
}

/** So many characters of a text at most, and a sign where there were more. */
export function shortened(text: string, most: number): string {
  return text.length > most ? `${text.slice(0, most)}…` : text
}

/** @returns the JSON text with each such character in its escaped form, `\u202e`: it says the same */
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
