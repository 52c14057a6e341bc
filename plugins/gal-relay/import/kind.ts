// Recognizes which system a file or folder belongs to.
import { isRegistryExport, isRoutingTable } from './ims'

export const KINDS = ['ims', 'postfix', 'exim', 'haraka'] as const
export type Kind = (typeof KINDS)[number]

/** @param name the file's name, without its folder */
export function kindOfFile(name: string, text: string): Kind | undefined {
  if (isRegistryExport(text)) return 'ims'
  if (
    /^[ \t]*begin[ \t]+(routers|acl|transports)[ \t\r]*$/m.test(text) ||
    /^[ \t]*(domainlist|hostlist)[ \t]+\w+[ \t]*=/m.test(text)
  )
    return 'exim'
  if (
    /^(mynetworks|mydestination|relay_domains|transport_maps|smtpd_\w+|virtual_\w+|relay_recipient_maps)\s*=/m.test(
      text,
    )
  ) {
    return 'postfix'
  }
  if (name === 'main.cf') return 'postfix'
  return isRoutingTable(text) ? 'ims' : undefined
}

export const EXIM_FILES = ['exim4.conf', 'exim.conf', 'configure', 'exim4.conf.template'] as const
const HARAKA_FILES = [
  'smtp.ini',
  'host_list',
  'relay.ini',
  'relay_acl_allow',
  'relay_dest_domains.ini',
  'rcpt_to.ldap.ini',
  'smtp_forward.ini',
  'plugins',
] as const

/** @param names the names of the files in the folder */
export function kindOfFolder(names: readonly string[]): Kind | undefined {
  if (names.includes('main.cf')) return 'postfix'
  if (EXIM_FILES.some((name) => names.includes(name))) return 'exim'
  if (HARAKA_FILES.some((name) => names.includes(name))) return 'haraka'
  return names.some((name) => /\.reg$/i.test(name)) ? 'ims' : undefined
}
