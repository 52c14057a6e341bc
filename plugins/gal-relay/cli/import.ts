// gal-relay import: prints the settings of another system as a gal_relay.ini on standard output,
// and what became of each setting on standard error. Writes no file.
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import path from 'node:path'
import { Command, Option } from 'commander'
import { importExim } from '../import/exim'
import { importHaraka } from '../import/haraka'
import { importIms } from '../import/ims'
import type { Imported, Outcome, ReadFile } from '../import/ini'
import { EXIM_FILES, KINDS, type Kind, kindOfFile, kindOfFolder } from '../import/kind'
import { importPostfix } from '../import/postfix'
import { textOf } from '../import/text'
import { CannotRun, isMissing } from './install'
import { unreadableFile } from './lines'
import { columns, printError, printJson, printLines } from './print'

interface Options {
  readonly from?: Kind
  readonly json?: boolean
}

const EXAMPLES = `
The ini goes to standard output; what was taken, what is answered differently here, and what was left out
and why, to standard error, a line each. No file is written, and an open relay is never taken over as one.
Exit code 0: everything was taken; 1: something was left out, or differs.

Kinds of source:
  ims      a .reg export of MSExchangeIMC\\Parameters, the routing table as text, or a folder with both
  postfix  main.cf, or its folder
  exim     exim.conf or exim4.conf, or its folder
  haraka   an install, or its config: relay, rcpt_to.ldap, ldap, queue/smtp_forward

Examples:
  From this install's own plugins, for a first look:
    gal-relay import .
  From the Postfix that it replaces:
    gal-relay import main.cf > config/gal_relay.ini
  From an Exchange server:
    gal-relay import --from ims exchange.reg > config/gal_relay.ini`

export function importCommand(): Command {
  return new Command('import')
    .description('convert the settings of another system into a gal_relay.ini')
    .argument('<source>', 'a file or a folder')
    .addOption(new Option('--from <kind>', 'kind of source (default: detected)').choices(KINDS))
    .addHelpText('after', EXAMPLES)
    .action(run)
}

function run(source: string, _: unknown, command: Command): void {
  const options = command.optsWithGlobals<Options>()
  const { kind, imported } = importFrom(source, options.from)
  const { ini, remarks } = imported
  if (options.json) printJson({ from: kind, ini, remarks })
  else printLines(ini.trimEnd().split('\n'))
  const rows = remarks.map(({ outcome, from, text }) => [outcome, `${from}: ${text}`])
  if (rows.length > 0 && !options.json) printError(columns(rows).join('\n'))
  if (remarks.some(({ outcome }) => outcome !== TAKEN)) process.exitCode = 1
}

const TAKEN: Outcome = 'taken'

/** @throws CannotRun if the source cannot be read or is of no known kind */
function importFrom(source: string, asked: Kind | undefined): { kind: Kind; imported: Imported } {
  return isFolder(source) ? fromFolder(source, asked) : fromFile(source, asked)
}

function fromFolder(given: string, asked: Kind | undefined): { kind: Kind; imported: Imported } {
  const config = path.join(given, 'config')
  const isInstall = existsSync(config) && isFolder(config)
  const folder = isInstall && (asked === undefined || asked === 'haraka') ? config : given
  const names = filesIn(folder)
  const kind = asked ?? kindOfFolder(names)
  const read = (name: string) => textIn(path.join(folder, name))
  switch (kind) {
    case undefined:
      throw new CannotRun(
        `${given} contains no known configuration; name the file, and its kind with --from ${KINDS.join('|')}`,
      )
    case 'haraka':
      return { kind, imported: importHaraka((name) => readIfThere(path.join(folder, name)), given) }
    case 'ims': {
      const files = names
        .filter((name) => /\.(reg|txt|csv)$/i.test(name))
        .map((name) => ({ name, text: read(name) }))
      const ours = files.filter(({ name, text }) => kindOfFile(name, text) === kind)
      if (ours.length === 0) throw new CannotRun(`${given} has no .reg export and no routing table`)
      return { kind, imported: importIms(ours, given) }
    }
    case 'postfix':
    case 'exim': {
      const choices: readonly string[] = kind === 'postfix' ? ['main.cf'] : EXIM_FILES
      const name = choices.find((one) => names.includes(one))
      if (!name) throw new CannotRun(`${given} has no ${choices.join(' or ')}`)
      return fromFile(path.join(folder, name), kind)
    }
  }
}

function fromFile(file: string, asked: Kind | undefined): { kind: Kind; imported: Imported } {
  const text = textIn(file)
  const name = path.basename(file)
  const found = kindOfFile(name, text)
  const kind = asked ?? found
  const read = filesBeside(file)
  switch (kind) {
    case undefined:
      throw new CannotRun(`${file} is of no known kind; name it with --from ${KINDS.join('|')}`)
    case 'haraka':
      throw new CannotRun(`${file} is one file; --from haraka takes the install's folder`)
  }
  if (found !== kind) {
    const instead = found ? `; it looks like ${found}` : ''
    throw new CannotRun(`${file} has nothing of ${kind} in it${instead}`)
  }
  if (kind === 'ims') return { kind, imported: importIms([{ name, text }], file) }
  const importText = kind === 'postfix' ? importPostfix : importExim
  return { kind, imported: importText(text, read, file) }
}

/** Reads the files that a file names: beside it, as in a copy from another machine, else as named. */
function filesBeside(file: string): ReadFile {
  const folder = path.dirname(path.resolve(file))
  return (name) =>
    readIfThere(path.join(folder, name.replace(/^\/etc\/(postfix|exim4?)\//, ''))) ??
    readIfThere(path.resolve(folder, name)) ??
    readIfThere(path.join(folder, path.basename(name)))
}

function filesIn(folder: string): string[] {
  try {
    return readdirSync(folder)
  } catch (error) {
    throw unreadableFile(folder, error)
  }
}

function textIn(file: string): string {
  try {
    return textOf(readFileSync(file))
  } catch (error) {
    throw unreadableFile(file, error)
  }
}

/** @returns `undefined` if it does not exist or is a folder */
function readIfThere(file: string): string | undefined {
  return existsSync(file) && statSync(file).isFile() ? textIn(file) : undefined
}

/** @throws CannotRun if no such file or folder exists, or it cannot be read */
function isFolder(name: string): boolean {
  try {
    const stats = statSync(name)
    // The output of another program, as in <(postconf -n), is a file too.
    if (!stats.isFile() && !stats.isFIFO() && !stats.isDirectory()) {
      throw new CannotRun(`${name} is neither a file nor a folder`)
    }
    return stats.isDirectory()
  } catch (error) {
    if (error instanceof CannotRun) throw error
    if (isMissing(error)) throw new CannotRun(`there is no file or folder ${name}`)
    throw unreadableFile(name, error)
  }
}
