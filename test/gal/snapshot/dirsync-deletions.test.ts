// An account may ask for changes by DirSync and not see deleted objects: it is not told of deletions.
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { describe, test } from 'node:test'
import { skipWithoutSamba, startSamba } from '../../support/samba'
import { serverUrl, testList } from '../lists'

const BASE = 'dc=corp,dc=test'
const PASSWORD = 'Read3r-Secret!'
const contact = (name: string) => ({
  dn: `cn=${name},cn=Users,${BASE}`,
  attributes: { objectClass: 'contact', mail: `${name}@example.com` },
})

describe('DirSync', { skip: skipWithoutSamba() }, () => {
  test('who is deleted becomes absent, though the account does not see deleted objects', async () => {
    const folder = mkdtempSync(path.join(tmpdir(), 'dirsync-'))
    const samba = await startSamba()
    await samba.add(...['ann', 'bob', 'cas', 'dee'].map(contact))
    const bind_dn = await samba.addAccount('reader', PASSWORD)
    await samba.allowDirSync('reader')
    const list = testList(
      {
        url: [serverUrl(`ldaps://${samba.host}:636`)],
        bind_dn,
        bind_password: PASSWORD,
        tls_ca: samba.ca,
      },
      { mode: 'snapshot' },
      { file: path.join(folder, 'list'), changes_every: 2000, shrink_limit: 0.9 },
    )
    try {
      list.start()
      await list.becomes('nobody@example.com', 'absent')
      assert.equal(list.report().snapshot?.feed, 'dirsync')
      assert.equal(await list.ask('bob@example.com'), 'found')
      await samba.delete(contact('bob').dn)
      await list.becomes('bob@example.com', 'absent')
      await samba.restore(contact('bob').dn, { mail: 'bob@example.com' })
      await list.becomes('bob@example.com', 'found')
      await samba.add(contact('eve'))
      await list.becomes('eve@example.com', 'found')
    } finally {
      await list.close()
      await samba.stop()
      rmSync(folder, { recursive: true, force: true })
    }
  })
})
