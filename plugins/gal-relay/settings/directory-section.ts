// What a section for a directory, `[ldap]` or `[directory …]`, must say as a whole, beyond the
// rules for each key.
import type { Ini } from './ini'
import type { Problem } from './problem'
import type { LdapSettings } from './schema'
import { FILE, type SectionReader } from './sections'

/** Without a server and a base, no recipient can be looked up. */
export function reportMissingDirectory(ini: Ini, section: string, problems: Problem[]): void {
  const given = ini.sections.get(section)
  if (!given?.get('url')?.length) {
    const what = 'is missing: url[] = ldaps://dc1.corp.example'
    problems.push({ file: FILE, section, key: 'url[]', what })
  }
  if (given?.get('base') === undefined) {
    const what = 'is missing: base = dc=corp,dc=example'
    problems.push({ file: FILE, section, key: 'base', what })
  }
}

/** Keys that describe the directory itself; a server that receives its list does not ask it. */
const OF_DIRECTORY: readonly string[] = [
  ...['url', 'base', 'dereference', 'bind_method', 'bind_dn', 'bind_password'],
  ...['bind_password_file', 'starttls', 'tls_ca', 'tls_cert', 'tls_key', 'tls_verify'],
  ...['referrals', 'referral_hosts', 'attributes', 'filter', 'authenticated_only_attribute'],
  ...['host_attribute', 'routing_attribute'],
]

/** @param mode the section that sets it: `[gal] mode` may apply to other sections too */
export function reportWhatIsReceived(
  ini: Ini,
  section: string,
  sections: SectionReader,
  mode: string,
): void {
  const given = ini.sections.get(section)
  for (const key of OF_DIRECTORY) {
    if (!given?.has(key)) continue
    const what =
      `belongs to the server that publishes the list: with mode = received (${mode}) this one asks no ` +
      'directory'
    sections.report({ section, key, what })
  }
}

/**
 * A missing password would go unnoticed: servers treat a name without one as an anonymous bind.
 * @param method `undefined` if it is invalid itself
 */
export function reportCredentials(
  ini: Ini,
  section: string,
  sections: SectionReader,
  method: LdapSettings['bind_method'] | undefined,
): void {
  const report = (key: string, what: string) => sections.report({ section, key, what })
  const has = (key: string) => Boolean(ini.sections.get(section)?.get(key))
  const [password, another] = ['bind_password', 'bind_password_file'].filter(has)
  if (password && another)
    report(another, `cannot be combined with ${password}: only one can count`)
  if (password && !has('bind_dn')) report(password, 'has no effect without bind_dn')
  if (method === 'external' && has('bind_dn'))
    report('bind_dn', 'has no effect with bind_method = external')
  else if (has('bind_dn') && !password) {
    report('bind_dn', 'has no bind_password or bind_password_file')
  }
}
