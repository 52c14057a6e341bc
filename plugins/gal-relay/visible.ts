// What a stranger sent, fit to stand in a log, on a page or on a terminal: it may hold characters that
// nobody sees, that turn the text around, or that a terminal obeys.

const PLAIN = /^[\x20-\x7e]*$/
/** Control, format, private and unassigned ones, line ends, and blanks that are not the blank. */
const UNSEEN = /[\p{C}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}]|(?! )\p{Zs}/gu

/** @returns the text with each such character as its code point: `a<U+202E>b` */
export function visible(text: string): string {
  return PLAIN.test(text) ? text : text.replace(UNSEEN, named)
}

/** Characters that are shown of a text of a server's own choosing. */
const WORDS_MOST = 200

/** The same of words that a server chose, however many they are: the first 200 characters. */
export function visibleWords(text: string): string {
  return visible(text.length > WORDS_MOST ? `${text.slice(0, WORDS_MOST)}…` : text)
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
