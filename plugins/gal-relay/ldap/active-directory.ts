// Names of controls and attributes in Active Directory (MS-ADTS 3.1.1.3.4.1), and its ports.

/** A control: searches find deleted objects too, as far as the account may read them. */
export const SHOW_DELETED = '1.2.840.113556.1.4.417'

/** Identifies an object for its whole life. */
export const OBJECT_GUID = 'objectGUID'

/** TRUE on the remains of deleted objects. */
export const IS_DELETED = 'isDeleted'

/** Without and with TLS. */
export const GLOBAL_CATALOG_PORTS: ReadonlySet<number> = new Set([3268, 3269])
