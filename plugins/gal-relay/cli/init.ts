// gal-relay init: writes the first gal_relay.ini from what the install, DNS and the directory say.
// Asks only what it cannot find out, never overwrites a file, and checks the result.
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { createInterface } from 'node:readline/promises'
import { Command } from 'commander'
import { notListed } from '../advice/plugin-order'
import { importHaraka } from '../import/haraka'
import { configDir, readList } from '../settings/haraka-files'
import { readIni } from '../settings/ini'
import { ownHost } from '../settings/own-host'
import { SettingsError } from '../settings/problem'
import { type LdapSettings, readSettings } from '../settings/settings'
import { type FirstSettings, firstSettingsText } from '../setup/first-settings'
import { isAnnounced, type Survey, SurveyError, surveyDirectory } from '../setup/survey'
import { showCheck } from './check'
import { CannotRun, type Install, openInstall, PLUGIN } from './install'
import { colour, printError, printLines } from './print'

interface Options {
  readonly config?: string
  readonly json?: boolean
  readonly yes?: boolean
  readonly url?: readonly string[]
  readonly base?: readonly string[]
  readonly bindDn?: string
  readonly bindPasswordFile?: string
  readonly tlsCa?: string
}

const INI = 'gal_relay.ini'

const EXAMPLES = `
Looks at the install (plugins, host_list, and what relay, rcpt_to.ldap, ldap and queue/smtp_forward are
told), at DNS (_ldap._tcp and _gc._tcp of its domains) and at the directory: its kind, where its entries
are, which attributes hold addresses, and the accepted domains of an Exchange. Writes config/gal_relay.ini
with enforce = false, never over one that is there, and then does what gal-relay check does.

Examples:
  DNS does not name the directory, or another one is meant:
    gal-relay init --url ldap://dc1.corp.example
  Without a question, for a script; --bind-dn and --bind-password-file where an account is needed:
    gal-relay init --yes --url ldap://dc1.corp.example --base ou=People,dc=corp,dc=example`

export function initCommand(): Command {
  const several = (value: string, before: readonly string[] = []) => [...before, value]
  return new Command('init')
    .description('a first gal_relay.ini, from the install, DNS and the directory')
    .option('-y, --yes', 'asks nothing: what cannot be found out is an error')
    .option('--url <url>', 'of a directory server; may be repeated', several)
    .option('--base <dn>', 'below which its entries are; may be repeated', several)
    .option('--bind-dn <dn>', 'the account for the look-ups')
    .option('--bind-password-file <file>', 'with its password; relative to config/')
    .option('--tls-ca <file>', "the authority of the servers' certificates; relative to config/")
    .addHelpText('after', EXAMPLES)
    .action(run)
}

async function run(_: unknown, command: Command): Promise<void> {
  const options = command.optsWithGlobals<Options>()
  const install = await openInstall(options.config)
  const file = path.join(configDir(install.config), INI)
  if (existsSync(file)) {
    throw new CannotRun(`${file} is there already and stays as it is; gal-relay check looks at it`)
  }
  const text = firstSettingsText(await findOut(install, options))
  try {
    readSettings(
      readIni(`config/${INI}`, text),
      readList(install.config, 'host_list'),
      path.dirname(file),
    )
  } catch (error) {
    if (!(error instanceof SettingsError)) throw error
    throw new CannotRun(`nothing was written: ${error.message}`)
  }
  // Other users need not read a password in it.
  const mode = /^bind_password = /m.test(text) ? 0o600 : 0o644
  try {
    writeFileSync(file, text, { flag: 'wx', mode })
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    const reason = code === 'EACCES' ? 'permission denied' : message
    throw new CannotRun(`${file} cannot be written: ${reason}`)
  }
  if (!options.json) {
    printLines([colour.green(`${file} is written`), '', ...text.trimEnd().split('\n'), ''])
  }
  // Adding the line to config/plugins is the next step.
  await showCheck(install, options.json ?? false, notListed(install.config, PLUGIN))
  if (!options.json) printLines(['', ...nextSteps(install)])
}

function nextSteps({ config }: Install): string[] {
  const plugin = `echo ${PLUGIN} >> config/plugins; where a plugin accepts whole domains, it goes before that one`
  return [
    ...(notListed(config, PLUGIN).length > 0 ? [`to do: ${plugin}`] : []),
    'to do: restart Haraka; read what it observes; then take enforce = false out',
  ]
}

// ── What can be found out ────────────────────────────────────────────────────────────────────────

async function findOut(install: Install, options: Options): Promise<FirstSettings> {
  const { config } = install
  const hosts = readList(config, 'host_list').map((line) => line.toLowerCase())
  const others = otherPlugins(install)
  const directory = await directoryOf(install, options, hosts, others.ldap)
  let account = {
    bindDn: options.bindDn ?? (options.url ? '' : others.one('ldap', 'bind_dn')),
    bindPasswordFile: options.bindPasswordFile ?? '',
    bindPassword: options.bindDn || options.url ? '' : others.one('ldap', 'bind_password'),
  }
  const tlsCa = options.tlsCa ?? ''
  const wanted = options.base ?? (options.url ? [] : others.all('ldap', 'base'))
  const look = () => survey(install, directory.urls, wanted, account, tlsCa)
  let found = await look()
  if (typeof found === 'string' && !account.bindDn) {
    account = { ...account, ...(await askForAccount(options, found)) }
    found = await look()
  }
  if (typeof found === 'string') throw new CannotRun(found)
  const bases = found.bases
  const known = others.all('gal', 'attributes')
  const attributes = known.length > 0 ? known : found.attributes
  return {
    ...directory,
    ...account,
    tlsCa,
    survey: found,
    bases,
    basesFrom: wanted.length > 0 ? 'as it was named' : 'all that the server has',
    attributes,
    attributesFrom:
      known.length > 0 ? 'from the settings of another plugin' : 'entries have addresses in them',
    filter: others.one('gal', 'filter'),
    hosts,
    rows: others.rows,
    restrictions: others.restrictions,
    ...(await domainsFor(install, options, hosts, others.rows, found)),
  }
}

/** What the other plugins' settings say; see import/haraka.ts. */
function otherPlugins({ config }: Install) {
  const folder = configDir(config)
  const read = (name: string) => {
    const file = path.join(folder, name)
    return existsSync(file) ? readFileSync(file, 'utf8') : undefined
  }
  const { sections } = readIni(INI, importHaraka(read, 'this install').ini)
  const all = (section: string, key: string): readonly string[] => {
    const value = sections.get(section)?.get(key) ?? []
    return typeof value === 'string' ? [value] : (value as readonly string[])
  }
  return {
    all,
    one: (section: string, key: string) => all(section, key)[0] ?? '',
    ldap: all('ldap', 'url'),
    rows: [...(sections.get('routes') ?? [])].map(([sentTo, to]) => [sentTo, String(to)] as const),
    restrictions: ['never', 'hosts'].flatMap((key) =>
      all('restrictions', key).map((value) => [key, value] as const),
    ),
  }
}

async function directoryOf(
  { config }: Install,
  options: Options,
  hosts: readonly string[],
  known: readonly string[],
): Promise<Pick<FirstSettings, 'urls' | 'urlsFrom'>> {
  if (options.url) return { urls: options.url, urlsFrom: 'as it was named' }
  if (known.length > 0) return { urls: known, urlsFrom: 'which another plugin asks already' }
  const names = [...ownHost(config).names].map((name) => name.split('.').slice(1).join('.'))
  const domains = [...new Set([...names, ...hosts])].filter((name) => name.includes('.'))
  for (const domain of domains) {
    if (!(await isAnnounced(domain, '_ldap._tcp'))) continue
    const catalog = (await isAnnounced(domain, '_gc._tcp')) ? CATALOG : ''
    return {
      urls: [`srv://${domain}`],
      urlsFrom: `which DNS names (_ldap._tcp.${domain})${catalog}`,
    }
  }
  const asked = domains.map((domain) => `_ldap._tcp.${domain}`).join(', ')
  const where = asked
    ? `DNS has no ${asked}`
    : 'this host and config/host_list name no domain to ask DNS for'
  const url = await ask(options, 'The directory (such as ldaps://dc1.corp.example): ', {
    why: `no directory was found: ${where}`,
    option: '--url',
  })
  return { urls: [url], urlsFrom: 'as it was named' }
}

const CATALOG =
  '; of a forest of several domains a Global Catalog has all: ldap://SERVER:3268, with an empty base'

/** @returns why the directory shows nothing, if it does not */
async function survey(
  { config }: Install,
  urls: readonly string[],
  bases: readonly string[],
  {
    bindDn,
    bindPasswordFile,
    bindPassword,
  }: Pick<FirstSettings, 'bindDn' | 'bindPasswordFile' | 'bindPassword'>,
  tlsCa: string,
): Promise<Survey | string> {
  const lines = [
    '[routing]',
    'host_list = false',
    '[ldap]',
    ...urls.map((url) => `url[] = ${url}`),
    'base =',
    ...(bindDn ? [`bind_dn = ${bindDn}`] : []),
    ...(bindPasswordFile ? [`bind_password_file = ${bindPasswordFile}`] : []),
    ...(bindPassword && !bindPasswordFile ? [`bind_password = ${bindPassword}`] : []),
    ...(tlsCa ? [`tls_ca = ${tlsCa}`] : []),
  ]
  const ldap = settingsFor(lines.join('\n'), configDir(config))
  const who = bindDn || 'clients without an account'
  try {
    const found = await surveyDirectory(ldap, bases)
    if (found.attributes.length > 0) return found
    const why = found.refusal && `: ${found.refusal}`
    const where = found.bases.join(' and ') || 'it'
    return `${found.server} shows no mail address below ${where} to ${who}${why}`
  } catch (error) {
    if (!(error instanceof SurveyError)) throw error
    const text = `${urls.join(', ')} cannot be asked: ${error.message}`
    if (!error.isAboutAccount) throw new CannotRun(text)
    return `${text}, by ${who}`
  }
}

/** @throws CannotRun if something named on the command line is wrong */
function settingsFor(text: string, folder: string): LdapSettings {
  try {
    const { directories } = readSettings(readIni(`config/${INI}`, text), [], folder)
    const [first] = directories.all
    if (first) return first.ldap
  } catch (error) {
    if (error instanceof SettingsError) throw new CannotRun(error.message)
    throw error
  }
  throw new CannotRun('no directory is named')
}

/** Determines which domains are ours if nothing in the install says so. */
async function domainsFor(
  { config }: Install,
  options: Options,
  hosts: readonly string[],
  rows: FirstSettings['rows'],
  { domains, acceptedDomains, bases }: Survey,
): Promise<Pick<FirstSettings, 'domains' | 'domainsFrom'>> {
  const isInbound = rows.some(([, routeTo]) => /^(inbound|shared|accept)\b/.test(routeTo))
  if (hosts.some((host) => host !== 'localhost') || isInbound || acceptedDomains.length > 0) {
    return { domains: [], domainsFrom: '' }
  }
  const own = [...ownHost(config).names].map((name) => name.split('.').slice(1).join('.'))
  const ofBases = bases.map((base) =>
    Array.from(base.matchAll(/dc=([^,]+)/gi), ([, part]) => part).join('.'),
  )
  const names = new Set([...own, ...ofBases].map((name) => name.toLowerCase()))
  const likely = domains.filter(({ domain }) => names.has(domain)).map(({ domain }) => domain)
  if (likely.length > 0) {
    return {
      domains: likely,
      domainsFrom: 'the domain of this host or of the directory, and entries have addresses there',
    }
  }
  const [most] = domains
  const total = domains.reduce((sum, { count }) => sum + count, 0)
  if (most && most.count > total / 2) {
    return {
      domains: [most.domain],
      domainsFrom: 'most addresses of the directory are there; config/host_list names none',
    }
  }
  const answer = await ask(options, 'Your mail domains (such as example.com, example.org): ', {
    why: 'config/host_list names no domain, and the addresses of the directory are at many',
    option: 'config/host_list',
  })
  return { domains: answer.split(/[\s,]+/).filter(Boolean), domainsFrom: 'as they were named' }
}

// ── What has to be asked ─────────────────────────────────────────────────────────────────────────

async function askForAccount(options: Options, why: string) {
  const bindDn = await ask(options, 'The DN of an account that may read mail addresses: ', {
    why,
    option: '--bind-dn and --bind-password-file',
  })
  const bindPasswordFile =
    options.bindPasswordFile ??
    (await ask(options, 'The file with its password (relative to config/): ', {
      why,
      option: '--bind-password-file',
    }))
  return { bindDn, bindPasswordFile }
}

/** @throws CannotRun if there is nobody to ask, or no answer was given */
async function ask(
  { yes }: Options,
  question: string,
  { why, option }: { readonly why: string; readonly option: string },
): Promise<string> {
  const nobody = () => new CannotRun(`${why}; name it with ${option}`)
  if (yes || !process.stdin.isTTY) throw nobody()
  printError(why)
  const dialogue = createInterface({ input: process.stdin, output: process.stderr })
  try {
    const answer = (await dialogue.question(question)).trim()
    if (!answer) throw nobody()
    return answer
  } finally {
    dialogue.close()
  }
}
