// What was probably meant by a word that is no valid one.
import { distance } from 'fastest-levenshtein'

/** @returns the candidate that was probably meant, if any is near enough */
export function didYouMean(word: string, candidates: Iterable<string>): string | undefined {
  const near = (candidate: string) => distance(word.toLowerCase(), candidate.toLowerCase())
  let best: string | undefined
  for (const candidate of candidates) {
    if (best === undefined || near(candidate) < near(best)) best = candidate
  }
  return best !== undefined && near(best) <= Math.max(2, Math.floor(word.length / 3))
    ? best
    : undefined
}
