// The kinds of value that a setting can have, as schemas that turn ini text into what the code uses.
import path from 'node:path'
import * as v from 'valibot'
import { parseNetwork } from '../routing/networks'

/** The schema of one key; a default is text too. */
export type Field = v.GenericSchema
/** The keys of a section. */
export type Fields = Readonly<Record<string, Field>>
export type Values<T extends Fields> = v.InferOutput<v.ObjectSchema<T, undefined>>

/** Reports what is wrong with a value. The result is for readers, which must return something. */
export type Wrong = (message: string) => never

const reading = <I, O>(read: (given: I, wrong: Wrong) => O) =>
  v.rawTransform<I, O>(({ dataset, addIssue, NEVER }) =>
    read(dataset.value, (message) => {
      addIssue({ message })
      return NEVER
    }),
  )

/** A text that `read` turns into the value. */
export const textRead = <T>(read: (text: string, wrong: Wrong) => T) =>
  v.pipe(v.string(), reading(read))

/** The value of a key written once, or those of one written with `[]`. */
export const oneOrMore = v.union([v.string(), v.array(v.string())])

/** Booleans as in Haraka, except that any other word is an error instead of false. */
export const flag = textRead((text, wrong) => {
  if (/^(true|yes|ok|enabled|on|1)$/i.test(text)) return true
  if (/^(false|no|disabled|off|0)$/i.test(text)) return false
  return wrong(text === '' ? 'is empty; it is true or false' : 'is neither true nor false')
})

/** A boolean or the given word. */
export const flagOr = <const T extends string>(word: T) =>
  textRead((text, wrong) => {
    if (text.toLowerCase() === word) return word
    const read = v.safeParse(flag, text)
    if (read.success) return read.output
    return wrong(
      text === '' ? `is empty; it is true, false or ${word}` : `is not true, false or ${word}`,
    )
  })

export const word = <const T extends string>(...choices: readonly T[]) =>
  textRead((text, wrong) => {
    const choice = choices.find((name) => name === text.toLowerCase())
    return choice ?? wrong(`is not one of ${choices.join(', ')}`)
  })

const UNIT = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const

/** `500ms`, `30s`, `15m`, `4h`, `7d` → milliseconds */
export const duration = (least = '0s', most = '366d') =>
  textRead((text, wrong) => {
    const milliseconds = parseDuration(text)
    if (milliseconds === undefined) {
      if (/^\d+$/.test(text)) return wrong(`has no unit; probably meant: ${text}s`)
      return wrong('is not a duration such as 500ms, 30s, 15m, 4h or 7d')
    }
    const inRange =
      milliseconds >= (parseDuration(least) ?? 0) && milliseconds <= (parseDuration(most) ?? 0)
    return inRange ? milliseconds : wrong(`is not from ${least} to ${most}`)
  })

interface DurationRange {
  readonly least: number
  readonly most: number
}

function parseRange(text: string): DurationRange | undefined {
  const [, leastText = '', mostText = ''] = /^(\S+)\s+to\s+(\S+)$/.exec(text) ?? []
  const [least, most] = [parseDuration(leastText), parseDuration(mostText)]
  return least !== undefined && most !== undefined ? { least, most } : undefined
}

/** `0s to 5s`, or `0s`, → how long a client is kept waiting, in milliseconds */
export const delayRange = (most: string) =>
  textRead((text, wrong) => {
    const range = parseRange(text === '0s' ? '0s to 0s' : text)
    if (!range) return wrong('is not a range of durations such as 0s to 5s')
    if (range.most > (parseDuration(most) ?? 0)) return wrong(`is longer than ${most}`)
    return range.most < range.least
      ? wrong('is not a range: the first duration is longer than the second')
      : range
  })

/** `32, 64`: how many bits of an IPv4 and of an IPv6 address name its network */
export const networkBits = v.pipe(
  oneOrMore,
  reading((given, wrong) => {
    const text = [given].flat().join(',')
    const [, first = '', second = ''] = /^\/?(\d{1,3})\s*,\s*\/?(\d{1,3})$/.exec(text) ?? []
    const [ipv4, ipv6] = [Number(first), Number(second)]
    if (first === '' || ipv4 < 8 || ipv4 > 32 || ipv6 < 16 || ipv6 > 128) {
      return wrong(
        'is not the bits of an IPv4 network (8 to 32) and of an IPv6 network (16 to 128): 32, 64',
      )
    }
    return { ipv4, ipv6 }
  }),
)

/** `1s to 30s` → milliseconds */
export const durationRange = textRead((text, wrong) => {
  const range = parseRange(text)
  if (!range) return wrong('is not a range of durations such as 1s to 30s')
  if (range.most > UNIT.d) return wrong('is longer than a day')
  if (range.least === 0 || range.most < range.least) {
    return wrong('is not a range: the first duration is above zero and not longer than the second')
  }
  return { least: range.least, most: range.most }
})

function parseDuration(text: string): number | undefined {
  const [, amount = '', unit = ''] = /^(\d{1,9})\s*(ms|s|m|h|d)$/.exec(text) ?? []
  return unit ? Number(amount) * UNIT[unit as keyof typeof UNIT] : undefined
}

export const count = (least: number, most: number) =>
  textRead((text, wrong) => {
    const number = /^\d{1,15}$/.test(text) ? Number(text) : Number.NaN
    if (number >= least && number <= most) return number
    return wrong(`is not a whole number from ${least} to ${most}`)
  })

/** `20%` → 0.2 */
export const share = textRead((text, wrong) => {
  const [, percent] = /^(\d{1,3})\s*%$/.exec(text) ?? []
  if (percent !== undefined && Number(percent) <= 100) return Number(percent) / 100
  const meant = /^\d{1,2}$/.test(text) ? `; probably meant: ${text}%` : ''
  return wrong(`is not a share from 0% to 100%${meant}`)
})

export const text = v.string()

/** The hint for a value that a comment may follow. */
export const COMMENT = 'a comment needs a line of its own'
const hasComment = (value: string) => /\s[;#]/.test(value)

/** Reports a name in quotes, because nothing removes them. */
function quotedProblem(name: string): string | undefined {
  const [, , bare] = /^(["'])(.+)\1$/.exec(name) ?? []
  return bare && `would include the quotes around it; probably meant: ${bare}`
}

/** An account name as clients authenticate with it. */
export const account = textRead((name, wrong) => {
  if (hasComment(name)) return wrong(COMMENT)
  if (name.includes(',')) return wrong(ONE_EACH)
  const problem = quotedProblem(name)
  return problem ? wrong(problem) : name
})

/** A path, made absolute from Haraka's config folder; '' stays ''. */
export const file = (configDir: string) =>
  textRead((name, wrong) => {
    if (hasComment(name)) return wrong(COMMENT)
    return name === '' ? '' : path.resolve(configDir, name)
  })

/** The same, or the given word. */
export const fileOr = (word: string, configDir: string) => {
  const name = file(configDir)
  return textRead((text, wrong) => {
    if (text.toLowerCase() === word) return word
    const read = v.safeParse(name, text)
    return read.success ? read.output : wrong(read.issues[0].message)
  })
}

/** A key that may be repeated. Without `[]` it is a list of one; an empty value adds nothing. */
export const list = <T extends v.GenericSchema<string, unknown>>(item: T) =>
  v.pipe(
    oneOrMore,
    v.transform((given) => (given === '' ? [] : [given].flat())),
    v.array(item),
  )

/** Local parts, separated by commas or in a key that may be repeated. */
export const localParts = v.pipe(
  oneOrMore,
  reading((given, wrong) => {
    const all = [given].flat()
    const parts = all.flatMap((one) => one.split(',').map((part) => part.trim())).filter(Boolean)
    if (all.some(hasComment)) return wrong(COMMENT)
    if (parts.some((part) => part.includes('@'))) {
      return wrong('takes local parts, without @ and domain')
    }
    const problem = parts.map(quotedProblem).find(Boolean)
    return problem ? wrong(problem) : parts
  }),
)

/** For lists. */
export const ONE_EACH = 'contains more than one value; write a line for each'

export const network = textRead((entry, wrong) => {
  if (/[\s,]/.test(entry)) return wrong(ONE_EACH)
  const parsed = parseNetwork(entry)
  return 'problem' in parsed ? wrong(parsed.problem) : parsed
})
