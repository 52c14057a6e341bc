// What a stranger sent, fit to stand in a log or on a page: addresses in UTF-8 may hold characters that
// nobody sees, that turn the text around, or that a terminal obeys.

const PLAIN = /^[\x20-\x7e]*$/
/** Control, format, private and unassigned ones, line ends, and blanks that are not the blank. */
const UNSEEN = /[\p{C}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}]|(?! )\p{Zs}/gu

/** @returns the text with each such character as its code point: `a<U+202E>b` */
export function visible(text: string): string {
  return PLAIN.test(text) ? text : text.replace(UNSEEN, named)
}

function named(character: string): string {
  const code = character.codePointAt(0) ?? 0
  return `<U+${code.toString(16).toUpperCase().padStart(4, '0')}>`
}
