// A problem in the settings, and the sentence that describes it.
import { redactUserinfo } from '../routing/routes'
import { atOnce, type Steps } from './steps'

export interface Problem {
  /** Relative to Haraka's folder: `config/gal_relay.ini`. */
  readonly file: string
  readonly line?: number
  readonly section?: string
  /** With `[]` for a key that may repeat. */
  readonly key?: string
  /** As written; never a password. */
  readonly value?: string
  /** What is wrong, and what was probably meant. */
  readonly what: string
}

/** Haraka prints errors that stop its start without naming the plugin. */
const NAME = 'gal-relay: '

/** The settings cannot be used; the message lists every problem. */
export class SettingsError extends Error {
  readonly #problems: readonly Problem[]

  /** @param texts of the problems, in the order in which they are shown */
  constructor(problems: readonly Problem[], texts = atOnce(textsOf(problems))) {
    const count = problems.length === 1 ? 'a problem' : `${problems.length} problems`
    super(`${NAME}${count} in the settings\n${texts.join('\n')}`)
    this.#problems = problems
    // Haraka prints the stack of an error that stops its start; our stack lines would be of no use.
    this.stack = `${this.message}\n    at ${problems[0]?.file}`
  }

  /** The message without the plugin's name, for lines that have it already. */
  get lines(): readonly string[] {
    return this.message.slice(NAME.length).split('\n')
  }

  get problems(): readonly Problem[] {
    return this.#problems
  }
}

/** The same in short steps, for many problems. */
export function* settingsErrorSteps(problems: readonly Problem[]): Steps<SettingsError> {
  return new SettingsError(problems, yield* textsOf(problems))
}

function* textsOf(problems: readonly Problem[]): Steps<string[]> {
  const texts: string[] = []
  for (const problem of [...problems].sort((a, b) => (a.line ?? Infinity) - (b.line ?? Infinity))) {
    yield
    texts.push(problemText(problem))
  }
  return texts
}

export function problemText({ file, line, section, key, value, what }: Problem): string {
  const place = line === undefined ? file : `${file} line ${line}`
  const name = key === undefined ? '' : ` ${shownKey(key)}`
  const setting = value === undefined ? name : `${name} = ${value}`
  const where = section === undefined ? '' : ` [${section}]${setting}:`.replace(/ +:$/, ':')
  return `  ${place}:${where} ${cut(what, WORDS_MOST)}`
}

/** The key in printable form. Haraka also reads `smtp://user:secret@host` and `bind_password:secret` as keys. */
export const shownKey = (key: string): string =>
  redactUserinfo(key).replace(/(password:).*/i, '$1***')

/** The value in printable form: without passwords and credentials in URLs, and of limited length. */
export function shownValue(key: string, value: string): string {
  if (/password(?!_file)/.test(key)) return '(not shown)'
  const shown = redactUserinfo(value)
  return cut(shown, 200)
}

/** The problem's text may repeat part of the value. */
const WORDS_MOST = 2000

const cut = (text: string, most: number) => (text.length > most ? `${text.slice(0, most)}…` : text)
