// What a server says about itself (RFC 4512 §5.1).
import type { Connection } from './connection'
import type { Entry } from './entry'
import { present } from './filter'
import { attributeList, SCOPE, searchRequest } from './search-request'

export interface RootDse {
  /** OIDs. */
  readonly controls: ReadonlySet<string>
  /** OIDs, by which Active Directory identifies itself. */
  readonly capabilities: ReadonlySet<string>
  readonly namingContexts: readonly string[]
  /** 389 Directory Server: DNs of the tops of all its databases, also of those that are disabled. */
  readonly databases: readonly string[]
  /** DN of the entry that describes the server's attributes (RFC 4512 §4.2). */
  readonly subschema: string | undefined
  readonly isOpenLdap: boolean
  /** OpenLDAP: DN of what it tells of its own state, where it does. */
  readonly monitor: string | undefined
  /** Active Directory: the number of the last change on this domain controller. */
  readonly highestCommittedUsn: bigint | undefined
  /** Active Directory: the DN of this domain controller's own settings. */
  readonly dsServiceName: string | undefined
  /** Active Directory: `false` while a domain controller has not received all that others have. */
  readonly isSynchronized: boolean
  readonly isGlobalCatalogReady: boolean
}

const ACTIVE_DIRECTORY = ['1.2.840.113556.1.4.800', '1.2.840.113556.1.4.1851']

const SEARCH = searchRequest({
  base: '',
  scope: SCOPE.base,
  filter: present('objectClass'),
  attributes: attributeList([
    'objectClass',
    'supportedControl',
    'supportedCapabilities',
    'namingContexts',
    'nsBackendSuffix',
    'isSynchronized',
    'isGlobalCatalogReady',
    'highestCommittedUSN',
    'dsServiceName',
    'subschemaSubentry',
    'monitorContext',
  ]),
})

/**
 * A server that does not show its root DSE is treated as having no special abilities.
 * @throws DirectoryError if no answer came
 */
export async function readRootDse(connection: Connection, timeout: number): Promise<RootDse> {
  const { entries } = await connection.search(SEARCH, timeout)
  const values = (name: string) => valuesOf(entries[0], name).map((value) => value.toString())
  const [usn] = values('highestCommittedUSN')
  return {
    controls: new Set(values('supportedControl')),
    capabilities: new Set(values('supportedCapabilities')),
    namingContexts: values('namingContexts'),
    // `name:DN`
    databases: values('nsBackendSuffix').map((text) => text.slice(text.indexOf(':') + 1)),
    isOpenLdap: values('objectClass').includes('OpenLDAProotDSE'),
    monitor: values('monitorContext')[0],
    highestCommittedUsn: usn && /^\d+$/.test(usn) ? BigInt(usn) : undefined,
    dsServiceName: values('dsServiceName')[0],
    subschema: values('subschemaSubentry')[0],
    isSynchronized: values('isSynchronized')[0] !== 'FALSE',
    isGlobalCatalogReady: values('isGlobalCatalogReady')[0] !== 'FALSE',
  }
}

export function isActiveDirectory({ capabilities }: RootDse): boolean {
  return ACTIVE_DIRECTORY.some((oid) => capabilities.has(oid))
}

/** Returns the values of an attribute; the case of its name does not matter. */
export function valuesOf(entry: Entry | undefined, name: string): readonly Buffer[] {
  const lower = name.toLowerCase()
  return entry?.attributes.find(({ type }) => type.toLowerCase() === lower)?.values ?? []
}
