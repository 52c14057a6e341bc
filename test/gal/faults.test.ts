// Everything that can go wrong with a directory server, under a steady load of questions: no valid
// address is ever called absent, no unknown one found, every answer comes in time, and what can be
// asked elsewhere is.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import type { LdapSettings } from '../../plugins/gal-relay/settings/settings'
import { skipWithout } from '../support/programs'
import { type Slapd, startSlapd } from '../support/slapd'
import { startTcpProxy, type TcpProxy } from '../support/tcp-proxy'
import { serverUrl, type TestList, testList } from './lists'
import { assertNothingWrong, startLoad, VALID } from './load'

const TIMES = {
  connect_timeout: 500,
  query_timeout: 500,
  answer_within: 1500,
  retry_after: { least: 100, most: 1000 },
} satisfies Partial<LdapSettings>

/** A server behind a proxy. */
interface Site {
  readonly slapd: Slapd
  readonly proxy: TcpProxy
}

interface Fault {
  readonly name: string
  begin(site: Site): void | Promise<void>
  end(site: Site): void | Promise<void>
}

const FAULTS: readonly Fault[] = [
  {
    name: 'the server is killed',
    begin: ({ slapd }) => slapd.kill(),
    end: ({ slapd }) => slapd.restart(),
  },
  {
    name: 'the server is stopped: it accepts and never answers',
    begin: ({ slapd }) => slapd.pause(),
    end: ({ slapd }) => slapd.resume(),
  },
  {
    name: 'nothing comes back any more, as when a firewall forgot the connection',
    begin: ({ proxy }) => proxy.behave({ kind: 'hang' }),
    end: ({ proxy }) => proxy.behave({ kind: 'pass' }),
  },
  {
    name: 'answers come too late',
    begin: ({ proxy }) => proxy.behave({ kind: 'delay', milliseconds: 3000 }),
    end: ({ proxy }) => proxy.behave({ kind: 'pass' }),
  },
  {
    name: 'random bytes instead of LDAP',
    begin: ({ proxy }) => proxy.behave({ kind: 'garbage' }),
    end: ({ proxy }) => proxy.behave({ kind: 'pass' }),
  },
  {
    name: 'connections are cut in the middle of an answer',
    begin: ({ proxy }) => proxy.behave({ kind: 'cut', after: 9 }),
    end: ({ proxy }) => proxy.behave({ kind: 'pass' }),
  },
  {
    name: 'connections are reset',
    begin: ({ proxy }) => proxy.behave({ kind: 'reset' }),
    end: ({ proxy }) => proxy.behave({ kind: 'pass' }),
  },
  {
    name: 'the base vanishes',
    begin: ({ slapd }) => slapd.move(PEOPLE, `ou=elsewhere,${slapd.base}`),
    end: ({ slapd }) => slapd.move(`ou=people,ou=elsewhere,${slapd.base}`, slapd.base),
  },
  {
    name: 'the directory is emptied and refilled',
    begin: ({ slapd }) => slapd.move(STAFF, `ou=elsewhere,${slapd.base}`),
    end: ({ slapd }) => slapd.move(`ou=staff,ou=elsewhere,${slapd.base}`, PEOPLE),
  },
]

const PEOPLE = 'ou=people,dc=corp,dc=test'
const STAFF = `ou=staff,${PEOPLE}`

async function site(): Promise<Site> {
  const unit = (dn: string) => ({
    dn,
    objectClass: 'organizationalUnit',
    cn: undefined,
    sn: undefined,
    ou: dn.slice(3, dn.indexOf(',')),
  })
  const staff = VALID.map((mail, i) => ({ dn: `uid=r${i},${STAFF}`, mail }))
  const units = ['ou=elsewhere,dc=corp,dc=test', PEOPLE, STAFF].map(unit)
  const slapd = await startSlapd({ entries: [...units, ...staff] })
  return { slapd, proxy: await startTcpProxy(slapd.port) }
}

function listOf(sites: readonly { readonly proxy: { readonly port: number } }[]): TestList {
  const url = sites.map(({ proxy }) => serverUrl(`ldap://127.0.0.1:${proxy.port}`))
  return testList({ ...TIMES, url, base: [PEOPLE] })
}

async function stop(...sites: readonly Site[]): Promise<void> {
  for (const { slapd, proxy } of sites) {
    slapd.resume()
    await Promise.all([slapd.stop(), proxy.stop()])
  }
}

describe('faults', { skip: skipWithout('slapd', 'slapadd', 'ldapmodify'), concurrency: 4 }, () => {
  for (const fault of FAULTS) {
    test(`${fault.name}; there is no other server`, async () => {
      const only = await site()
      const list = listOf([only])
      list.start()
      const load = startLoad(list)
      try {
        await load.untilAnswered(2000)
        await fault.begin(only)
        await sleep(2000)
        // Once it is known to be down, nobody waits for it.
        const during = load.since(load.now - 500)
        assert.ok(during.length > 50)
        assert.ok(during.every(({ state }) => state === 'unavailable'))
        const slow = during.filter(({ took }) => took > 150)
        assert.ok(slow.length < during.length / 10, `${slow.length} of ${during.length} were slow`)
        await fault.end(only)
        await load.untilAnswered(5000)
      } finally {
        const asked = await load.stop()
        await list.close()
        await stop(only)
        assertNothingWrong(asked, TIMES.answer_within)
      }
    })

    test(`${fault.name}; a second server is well`, async () => {
      const [first, second] = [await site(), await site()]
      const list = listOf([first, second])
      list.start()
      const load = startLoad(list)
      try {
        await load.untilAnswered(2000)
        await fault.begin(first)
        await sleep(1500)
        await fault.end(first)
        await sleep(1500)
        const unavailable = load.since(0).filter(({ state }) => state === 'unavailable')
        assert.deepEqual(unavailable.slice(0, 3), [])
        const [preferred] = list.report().servers
        assert.equal(preferred?.state, 'up')
      } finally {
        const asked = await load.stop()
        await list.close()
        await stop(first, second)
        assertNothingWrong(asked, TIMES.answer_within)
      }
    })
  }
})
