// Parsers for the values of options.
import { InvalidArgumentError } from 'commander'

/** A whole number from 0. @throws InvalidArgumentError */
export function numberOf(text: string): number {
  if (!/^\d{1,9}$/.test(text)) throw new InvalidArgumentError('It must be a whole number: 100.')
  return Number(text)
}
