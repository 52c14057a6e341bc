// The directory's current servers, in the order in which they are asked.

import type { Endpoint, LdapOptions } from './options'
import { findServers } from './srv'

/** @throws DirectoryError if a domain's servers cannot be found and there are no others */
export async function endpointsOf(ldap: LdapOptions): Promise<Endpoint[]> {
  const found: Endpoint[] = []
  let failure: unknown
  for (const { scheme, host, port, text: name } of ldap.url) {
    if (scheme !== 'srv') {
      found.push({ tls: scheme === 'ldaps', host, port, name })
      continue
    }
    try {
      found.push(...(await findServers(host, ldap.connect_timeout)))
    } catch (error) {
      failure = error
    }
  }
  if (found.length === 0 && failure) throw failure
  return found
}
