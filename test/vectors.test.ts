// The rulebook's cases with each kind of directory and of server.
import { startEmbeddedLdap } from './support/embedded-ldap'
import { skipWithout } from './support/programs'
import { startSlapd } from './support/slapd'
import { describeVectors } from './support/vector-suite'

describeVectors('embedded LDAP directory', (entries) => startEmbeddedLdap(entries))
describeVectors('embedded LDAP directory, nodes = 2', (entries) => startEmbeddedLdap(entries), {
  nodes: 2,
})
describeVectors('slapd', (entries) => startSlapd({ entries }), {}, skipWithout('slapd', 'slapadd'))
