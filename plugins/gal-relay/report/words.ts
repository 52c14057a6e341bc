// Numbers in readable form.

/** A number with its noun: `1 address`, `256 addresses`. */
export function counted(count: bigint | number, one: string, many = `${one}s`): string {
  return `${grouped(count)} ${Number(count) === 1 ? one : many}`
}

/** `16,777,216`, `2^80`; what is too long to be read, as `3.4 × 10^38`. */
export function grouped(count: bigint | number): string {
  if (count < 1_000_000_000_000_000n) return count.toLocaleString('en')
  const number = BigInt(count)
  if ((number & (number - 1n)) === 0n) return `2^${number.toString(2).length - 1}`
  const digits = number.toString()
  return `${digits[0]}.${digits[1]} × 10^${digits.length - 1}`
}
