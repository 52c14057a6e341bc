// What the values of options have to look like.
import { InvalidArgumentError } from 'commander'

/** A whole number from 0. @throws InvalidArgumentError */
export function numberOf(text: string): number {
  if (!/^\d{1,9}$/.test(text)) throw new InvalidArgumentError('It is no whole number, such as 100.')
  return Number(text)
}
