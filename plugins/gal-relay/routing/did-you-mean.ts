// Guesses what was meant by a word that is not valid.
import { distance } from 'fastest-levenshtein'

/** @returns the candidate that was probably meant, if any is close enough */
export function didYouMean(word: string, candidates: Iterable<string>): string | undefined {
  const lower = word.toLowerCase()
  let best: string | undefined
  let least = Math.max(2, Math.floor(word.length / 3)) + 1
  for (const candidate of candidates) {
    const far = distance(lower, candidate.toLowerCase())
    if (far >= least) continue
    best = candidate
    least = far
  }
  return best
}
