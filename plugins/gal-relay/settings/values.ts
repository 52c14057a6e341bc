// The kinds of value that a setting can have, as zod types that turn ini text into what the code uses.
import path from 'node:path'
import { z } from 'zod'
import { parseNetwork } from '../routing/networks'

/** Booleans as in Haraka, except that any other word is an error instead of false. */
export const flag = z.string().transform((text, ctx) => {
  if (/^(true|yes|ok|enabled|on|1)$/i.test(text)) return true
  if (/^(false|no|disabled|off|0)$/i.test(text)) return false
  return wrong(ctx, text === '' ? 'is empty; it is true or false' : 'is neither true nor false')
})

/** A boolean or the given word. */
export const flagOr = <const T extends string>(word: T) =>
  z.string().transform((text, ctx) => {
    if (text.toLowerCase() === word) return word
    const read = flag.safeParse(text)
    if (read.success) return read.data
    return wrong(
      ctx,
      text === '' ? `is empty; it is true, false or ${word}` : `is not true, false or ${word}`,
    )
  })

export const word = <const T extends string>(...choices: readonly T[]) =>
  z.string().transform((text, ctx) => {
    const choice = choices.find((name) => name === text.toLowerCase())
    return choice ?? wrong(ctx, `is not one of ${choices.join(', ')}`)
  })

const UNIT = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const

/** `500ms`, `30s`, `15m`, `4h`, `7d` → milliseconds */
export const duration = (least = '0s', most = '366d') =>
  z.string().transform((text, ctx) => {
    const milliseconds = parseDuration(text)
    if (milliseconds === undefined) {
      if (/^\d+$/.test(text)) return wrong(ctx, `has no unit; probably meant: ${text}s`)
      return wrong(ctx, 'is not a duration such as 500ms, 30s, 15m, 4h or 7d')
    }
    const inRange =
      milliseconds >= (parseDuration(least) ?? 0) && milliseconds <= (parseDuration(most) ?? 0)
    return inRange ? milliseconds : wrong(ctx, `is not from ${least} to ${most}`)
  })

interface DurationRange {
  readonly least: number
  readonly most: number
}

function parseRange(
  text: string,
  ctx: z.RefinementCtx<unknown>,
  example: string,
): DurationRange | undefined {
  const [, leastText = '', mostText = ''] = /^(\S+)\s+to\s+(\S+)$/.exec(text) ?? []
  const [least, most] = [parseDuration(leastText), parseDuration(mostText)]
  if (least !== undefined && most !== undefined) return { least, most }
  return wrong(ctx, `is not a range of durations such as ${example}`)
}

/** `0s to 5s`, or `0s`, → how long a client is kept waiting, in milliseconds */
export const delayRange = (most: string) =>
  z.string().transform((text, ctx) => {
    const range = parseRange(text === '0s' ? '0s to 0s' : text, ctx, '0s to 5s')
    if (!range) return z.NEVER
    if (range.most > (parseDuration(most) ?? 0)) return wrong(ctx, `is longer than ${most}`)
    return range.most < range.least
      ? wrong(ctx, 'is not a range: the first duration is longer than the second')
      : range
  })

/** `32, 64`: how many bits of an IPv4 and of an IPv6 address name its network */
export const networkBits = z
  .union([z.string(), z.array(z.string()).transform((all) => all.join(','))])
  .transform((text, ctx) => {
    const [, first = '', second = ''] = /^\/?(\d{1,3})\s*,\s*\/?(\d{1,3})$/.exec(text) ?? []
    const [ipv4, ipv6] = [Number(first), Number(second)]
    if (first === '' || ipv4 < 8 || ipv4 > 32 || ipv6 < 16 || ipv6 > 128) {
      return wrong(
        ctx,
        'is not the bits of an IPv4 network (8 to 32) and of an IPv6 network (16 to 128): 32, 64',
      )
    }
    return { ipv4, ipv6 }
  })

/** `1s to 30s` → milliseconds */
export const durationRange = z.string().transform((text, ctx) => {
  const range = parseRange(text, ctx, '1s to 30s')
  if (!range) return z.NEVER
  if (range.most > UNIT.d) return wrong(ctx, 'is longer than a day')
  if (range.least === 0 || range.most < range.least) {
    return wrong(
      ctx,
      'is not a range: the first duration is above zero and not longer than the second',
    )
  }
  return { least: range.least, most: range.most }
})

function parseDuration(text: string): number | undefined {
  const [, amount = '', unit = ''] = /^(\d{1,9})\s*(ms|s|m|h|d)$/.exec(text) ?? []
  return unit ? Number(amount) * UNIT[unit as keyof typeof UNIT] : undefined
}

export const count = (least: number, most: number) =>
  z.string().transform((text, ctx) => {
    const number = /^\d{1,15}$/.test(text) ? Number(text) : Number.NaN
    if (number >= least && number <= most) return number
    return wrong(ctx, `is not a whole number from ${least} to ${most}`)
  })

/** `20%` → 0.2 */
export const share = z.string().transform((text, ctx) => {
  const [, percent] = /^(\d{1,3})\s*%$/.exec(text) ?? []
  if (percent !== undefined && Number(percent) <= 100) return Number(percent) / 100
  const meant = /^\d{1,2}$/.test(text) ? `; probably meant: ${text}%` : ''
  return wrong(ctx, `is not a share from 0% to 100%${meant}`)
})

export const text = z.string()

/** The hint for a value that a comment may follow. */
export const COMMENT = 'a comment needs a line of its own'
const hasComment = (value: string) => /\s[;#]/.test(value)

/** Reports a name in quotes, because nothing removes them. */
function quotedProblem(name: string): string | undefined {
  const [, , bare] = /^(["'])(.+)\1$/.exec(name) ?? []
  return bare && `would include the quotes around it; probably meant: ${bare}`
}

/** An account name as clients authenticate with it. */
export const account = z.string().transform((name, ctx) => {
  if (hasComment(name)) return wrong(ctx, COMMENT)
  if (name.includes(',')) return wrong(ctx, ONE_EACH)
  const problem = quotedProblem(name)
  return problem ? wrong(ctx, problem) : name
})

/** A path, made absolute from Haraka's config folder; '' stays ''. */
export const file = (configDir: string) =>
  z.string().transform((name, ctx) => {
    if (hasComment(name)) return wrong(ctx, COMMENT)
    return name === '' ? '' : path.resolve(configDir, name)
  })

/** The same, or the given word. */
export const fileOr = (word: string, configDir: string) => {
  const name = file(configDir)
  return z.string().transform((text, ctx) => {
    if (text.toLowerCase() === word) return word
    const read = name.safeParse(text)
    return read.success ? read.data : wrong(ctx, read.error.issues[0]?.message ?? '')
  })
}

/** A key that may be repeated. Without `[]` it is a list of one; an empty value adds nothing. */
export const list = <T extends z.ZodType<unknown, string>>(item: T) =>
  z
    .union([z.string().transform((one) => (one === '' ? [] : [one])), z.array(z.string())])
    .pipe(z.array(item))

/** Local parts, separated by commas or in a key that may be repeated. */
export const localParts = z
  .union([z.string().transform((one) => [one]), z.array(z.string())])
  .transform((all, ctx) => {
    const parts = all.flatMap((one) => one.split(',').map((part) => part.trim())).filter(Boolean)
    if (all.some(hasComment)) return wrong(ctx, COMMENT)
    if (parts.some((part) => part.includes('@'))) {
      return wrong(ctx, 'takes local parts, without @ and domain')
    }
    const problem = parts.map(quotedProblem).find(Boolean)
    return problem ? wrong(ctx, problem) : parts
  })

/** For lists. */
export const ONE_EACH = 'contains more than one value; write a line for each'

export const network = z.string().transform((entry, ctx) => {
  if (/[\s,]/.test(entry)) return wrong(ctx, ONE_EACH)
  const parsed = parseNetwork(entry)
  return 'problem' in parsed ? wrong(ctx, parsed.problem) : parsed
})

/** Reports what is wrong with the value. The result is for transforms, which must return something. */
export function wrong(ctx: z.RefinementCtx<unknown>, message: string): never {
  ctx.addIssue({ code: 'custom', message })
  return z.NEVER
}
