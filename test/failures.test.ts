// Everything that runs outside of Haraka's hooks is made to throw: in whole servers, with mail coming in all
// the time, and in parts of the plugin. Mail goes on, no answer is wrong, and the log has each stack. The
// names of this work are read from the code.
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { harvest } from './failures/harvest'
import { publishedLists } from './failures/lists'
import { connections, directory, list } from './failures/parts'
import { cluster, command, oneProcess } from './failures/servers'
import { VALID } from './gal/load'
import { type CertificateAuthority, makeAuthority } from './support/certificates'
import { type Faults, makeFaults, throwIn } from './support/faults'
import { skipWithout } from './support/programs'
import { type Slapd, startSlapd } from './support/slapd'
import { inspectCode } from './support/unguarded'

/** Work that is not reached here, and why. */
const ELSEWHERE: Readonly<Record<string, string>> = {
  'progress of a reading': 'every ten seconds of a reading',
  'turn of a reading that takes long': 'of one that takes half a minute',
  'watch on the folder of lists': 'of a folder that the system can no longer watch',
  'part of a message for the outbound queue': 'of Haraka 3.0.3 alone',
  'wait for what can be searched for': 'of a server whose schema is slow to come',
  'wait for what is asked elsewhere': 'of a server behind a reference that is slow',
  'TLS handshake': 'of a server that resets it, which the proxy only hits by chance',
  'end of following': 'of a reading that is stopped while it follows, which happens by chance',
  'standard output': 'of the command, when nobody reads it',
  'a packed file': 'of the command, when a packed log is damaged',
  'another connection to Redis': 'when the first could not be opened',
  'error of Redis': 'of a connection that is lost',
  'answer of Redis': 'when it takes longer than 50 ms',
  'late answer of Redis': 'likewise',
  'count of a network given up': 'of more than 20,000 networks',
  'error of a worker': 'of one that ends while it is answered',
  'error of the socket for the gal-relay command': 'where it cannot be made',
  'end of gal-relay publish': 'of the command, at a signal',
  'the lock of a list that is published': 'every two seconds of publishing once',
  'connection to the lock of a file': 'of a client, of which there is none',
  'lock of a file that is not given': 'of a second process that publishes there',
  'end of a lease': 'of a process that stood still together with its parent',
  'time-out of the gal-relay command': 'of a command that says nothing for ten seconds',
  'lost connection of the gal-relay command': 'of a command that is killed',
  'time-out of the server': 'of a server that does not answer for twelve seconds',
}

describe('whatever nobody waits for may throw', {
  skip: skipWithout('slapd', 'slapadd', 'ldapmodify', 'openssl', 'redis-server'),
}, () => {
  const thrown = new Set<string>()
  let authority: CertificateAuthority
  /** Asked by all of them but the cluster. */
  let slapd: Slapd
  before(async () => {
    authority = makeAuthority()
    slapd = await startSlapd({ entries: VALID, tls: authority.issue() })
  })
  after(async () => {
    await slapd?.stop()
    authority?.remove()
  })

  async function withFaults(run: (faults: Faults) => Promise<void>): Promise<void> {
    const faults = makeFaults()
    try {
      await run(faults)
    } finally {
      for (const { what } of faults.thrown()) thrown.add(what)
      faults.remove()
    }
  }

  describe('while mail comes in', { concurrency: true }, () => {
    test('in one process', () => withFaults((faults) => oneProcess(faults, slapd)))
    test('in a cluster with the list in memory', () => withFaults(cluster))
    test('in the command', () => withFaults((faults) => command(faults, slapd)))
    test('in harvest defence', () => withFaults((faults) => harvest(faults, slapd)))
    test('in parts', async (context) => {
      for (const part of [directory, connections, list, publishedLists]) {
        await context.test(part.name, () =>
          withFaults(async (faults) => {
            throwIn(faults.env.TEST_FAULTS ?? '')
            await part(faults, slapd, authority.ca)
          }),
        )
      }
    })
  })

  test('and all of it has thrown', async () => {
    const { work } = await inspectCode()
    const names = work.map(({ what }) => what)
    assert.deepEqual(
      names.filter((what) => !thrown.has(what) && !(what in ELSEWHERE)),
      [],
    )
  })
})
