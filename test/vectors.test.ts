// The rulebook's cases with each kind of directory and of server; and what `gal-relay explain` says of them.
import assert from 'node:assert/strict'
import { loadCommand } from './support/command'
import { startEmbeddedLdap } from './support/embedded-ldap'
import { agree } from './support/explain'
import { skipWithout } from './support/programs'
import { startSlapd } from './support/slapd'
import { describeVectors, SOME } from './support/vector-suite'

const command = loadCommand()

describeVectors('embedded LDAP directory', (entries) => startEmbeddedLdap(entries), {
  async also(haraka, scenario) {
    for (const one of scenario.cases) {
      const explained = await agree(haraka, one, command)
      for (const [i, expected] of [one.reply].flat().entries()) {
        assert.ok(explained[i]?.reply.startsWith(expected), `${explained[i]?.reply}`)
      }
    }
  },
})
describeVectors('embedded LDAP directory, nodes = 2', (entries) => startEmbeddedLdap(entries), {
  nodes: 2,
  only: SOME,
})
describeVectors('slapd', (entries) => startSlapd({ entries }), {
  only: SOME,
  skip: skipWithout('slapd', 'slapadd'),
})
