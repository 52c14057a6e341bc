// Checks the attributes that hold no addresses: those of the filter, and those that say who may write to an
// entry and where its mail goes. Once a recipient is found, what they show is taken as the truth.

import type { Connection } from '../../ldap/connection'
import { attributesOfFilter } from '../../ldap/filter'
import type { RootDse } from '../../ldap/root-dse'
import { readSchema } from '../../ldap/schema'
import type { GalSettings } from '../../settings/settings'
import { BaseSearch } from './base-search'
import { type Finding, note, problem, warning } from './finding'
import { hiddenWhenRead } from './hidden-attributes'
import type { ListDefinition } from './list-definition'

export async function* otherAttributes(
  connection: Connection,
  rootDse: RootDse,
  gal: GalSettings,
  list: ListDefinition,
  patience: number,
): AsyncGenerator<Finding> {
  const schema = await readSchema(connection, rootDse, patience)
  if (!schema) {
    yield note('its schema is not readable: attributes are judged by what entries show')
    return
  }
  const isUnknown = (name: string) => name !== '' && !schema.find(name.replace(/;.*/, ''))
  const { authenticated_only_attribute: flag, host_attribute, routing_attribute } = gal
  if (isUnknown(flag))
    yield note(`its schema has no ${flag}: no recipient is for authenticated senders only`)
  for (const name of [host_attribute, routing_attribute].filter(isUnknown))
    yield problem(`its schema has no ${name}: is the name right? It says of nobody where mail goes`)
  for (const name of attributesOfFilter(gal.filter).filter(isUnknown))
    yield warning(`its schema has no ${name}, which filter asks for: that part matches nobody`)
  const consequences = new Map([
    [flag, 'Anybody may send to it'],
    [host_attribute, 'Where its mail goes is not known'],
    [routing_attribute, 'Where its mail goes is not known'],
  ])
  for (const [name, consequence] of consequences) {
    if (name === '' || isUnknown(name)) continue
    for (const base of list.bases) {
      const search = new BaseSearch({ connection, list, patience }, base)
      const text = await hiddenWhenRead(search, name)
      if (text !== undefined) yield warning(`${text}. ${consequence}`)
    }
  }
}
