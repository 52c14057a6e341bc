// One thing wrong with the settings, and the sentence an operator reads about it.
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

/** Haraka prints what stops its start without saying whose it is. */
const NAME = 'gal-relay: '

/** Thrown at start when the settings cannot be used; the message lists every problem. */
export class SettingsError extends Error {
  readonly #problems: readonly Problem[]

  /** @param texts of the problems, in the order in which they are shown */
  constructor(problems: readonly Problem[], texts = atOnce(textsOf(problems))) {
    const count = problems.length === 1 ? 'a problem' : `${problems.length} problems`
    super(`${NAME}${count} in the settings\n${texts.join('\n')}`)
    this.#problems = problems
    // Haraka prints the stack of what stops its start; its reader needs no line of ours.
    this.stack = `${this.message}\n    at ${problems[0]?.file}`
  }

  /** The message without the plugin's name, for where that is said already. */
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

/** The key as it may be shown: `smtp://user:secret@host` and `bind_password:secret` pass for one. */
export const shownKey = (key: string): string =>
  redactUserinfo(key).replace(/(password:).*/i, '$1***')

/** The value as it may be shown: no password, no credentials in a URL, no endless line. */
export function shownValue(key: string, value: string): string {
  if (/password(?!_file)/.test(key)) return '(not shown)'
  const shown = redactUserinfo(value)
  return cut(shown, 200)
}

/** What is wrong may repeat a part of the value. */
const WORDS_MOST = 2000

const cut = (text: string, most: number) => (text.length > most ? `${text.slice(0, most)}…` : text)
