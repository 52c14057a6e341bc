// Values as they would be written in gal_relay.ini, and the default of each key.
import * as v from 'valibot'
import type { Field } from './values'

const UNITS = [
  ['d', 86_400_000],
  ['h', 3_600_000],
  ['m', 60_000],
  ['s', 1000],
  ['ms', 1],
] as const

/** A duration in the largest unit that needs no fraction: `90s`, `15m`. */
function durationText(milliseconds: number): string {
  const [unit, length] = UNITS.find(([, length]) => milliseconds % length === 0) ?? ['ms', 1]
  return milliseconds === 0 ? '0s' : `${milliseconds / length}${unit}`
}

/**
 * @param value the result of the key's schema for a text, or the key's default
 * @param field the key's schema
 * @returns a text for which the schema gives the same value; for a list, one text for each item
 */
export function writtenValue(value: unknown, field: Field): string | readonly string[] {
  if (Array.isArray(value)) return value.map(textOf)
  if (typeof value !== 'number') return textOf(value)
  if (v.is(field, `${value}`)) return `${value}`
  const share = `${Math.round(value * 100)}%`
  return v.is(field, share) ? share : durationText(value)
}

function textOf(value: unknown): string {
  if (typeof value !== 'object' || value === null) return String(value ?? '')
  if ('text' in value) return String(value.text)
  if ('least' in value && 'most' in value) {
    return `${durationText(Number(value.least))} to ${durationText(Number(value.most))}`
  }
  if ('match' in value && 'domain' in value) {
    return `${value.match === 'exact' ? '@' : ''}${value.domain}`
  }
  return String(value)
}
