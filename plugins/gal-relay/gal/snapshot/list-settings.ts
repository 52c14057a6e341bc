// The settings by which a list in memory is made and kept.
import type { GalSettings, LdapSettings, SnapshotSettings } from '../../settings/settings'

export interface ListSettings {
  readonly gal: GalSettings
  readonly ldap: LdapSettings
  readonly snapshot: SnapshotSettings
}
