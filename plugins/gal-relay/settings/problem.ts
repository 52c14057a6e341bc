// One thing wrong with the settings, and the sentence an operator reads about it.
import { redactUserinfo } from '../routing/routes'
import { atOnce, type Steps } from './steps'

export interface Problem {
  /** Relative to Haraka's folder: `config/gal_relay.ini`. */
  readonly file: string
  readonly line?: number
  readonly section?: string
  /** With `[]` if the key may be repeated. */
  readonly key?: string
  /** As written, but never a password. */
  readonly value?: string
  /** What is wrong, and what was probably meant. */
  readonly what: string
}

/** Haraka prints an error that stops its start without naming the plugin. */
const NAME = 'gal-relay: '

/** Thrown at start if the settings cannot be used; the message lists every problem. */
export class SettingsError extends Error {
  readonly #problems: readonly Problem[]

  /** @param texts the problems' texts, in the order in which they are shown */
  constructor(problems: readonly Problem[], texts = atOnce(textsOf(problems))) {
    const count = problems.length === 1 ? 'a problem' : `${problems.length} problems`
    super(`${NAME}${count} in the settings\n${texts.join('\n')}`)
    this.#problems = problems
    // Haraka prints the stack of an error that stops its start; our code lines would not help the reader.
    this.stack = `${this.message}\n    at ${problems[0]?.file}`
  }

  /** The message without the plugin's name, for places where the name is shown already. */
  get lines(): readonly string[] {
    return this.message.slice(NAME.length).split('\n')
  }

  get problems(): readonly Problem[] {
    return this.#problems
  }
}

/** The same in short steps, because there may be many problems. */
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

function problemText({ file, line, section, key, value, what }: Problem): string {
  const place = line === undefined ? file : `${file} line ${line}`
  const name = key === undefined ? '' : ` ${shownKey(key)}`
  const setting = value === undefined ? name : `${name} = ${value}`
  const where = section === undefined ? '' : ` [${section}]${setting}:`.replace(/ +:$/, ':')
  return `  ${place}:${where} ${cut(what, WORDS_MOST)}`
}

/** The key, safe to show: `smtp://user:secret@host` and `bind_password:secret` can be read as keys. */
export const shownKey = (key: string): string =>
  redactUserinfo(key).replace(/(password:).*/i, '$1***')

/** The value, safe to show: no password, no credentials in a URL, no endless line. */
export function shownValue(key: string, value: string): string {
  if (/password(?!_file)/.test(key)) return '(not shown)'
  const shown = redactUserinfo(value)
  return cut(shown, 200)
}

/** The most characters of `what`, which may repeat part of the value. */
const WORDS_MOST = 2000

const cut = (text: string, most: number) => (text.length > most ? `${text.slice(0, most)}…` : text)
