// Whoever keeps a list may be told to stop at any moment: it ends, and leaves no connection behind.
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { test } from 'node:test'
import { setImmediate } from 'node:timers/promises'
import type { ListSettings } from '../../../plugins/gal-relay/gal/snapshot/list-settings'
import { syncOnce } from '../../../plugins/gal-relay/gal/snapshot/sync-once'
import { Syncer } from '../../../plugins/gal-relay/gal/snapshot/syncer'
import { skipWithout } from '../../support/programs'
import { startSlapd } from '../../support/slapd'
import { startTcpProxy } from '../../support/tcp-proxy'
import { until } from '../../support/until'
import { GAL, LDAP, recordedLog, SNAPSHOT, serverUrl } from '../lists'

/** Turns of the event loop from the start of it to its end: from before the file is looked at to after all is read. */
const MOMENTS = 60

test('stopped at any moment, keeping a list ends', {
  skip: skipWithout('slapd', 'slapadd'),
}, async () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'stopped-'))
  const slapd = await startSlapd({ entries: ['ann@example.com'] })
  const proxy = await startTcpProxy(slapd.port)
  const settings: ListSettings = {
    gal: GAL,
    ldap: { ...LDAP, url: [serverUrl(`ldap://127.0.0.1:${proxy.port}`)] },
    snapshot: { ...SNAPSHOT, file: path.join(folder, 'list') },
  }
  try {
    await syncOnce(settings, { force: false, log: recordedLog(), onProgress: () => {} })
    const goingOn = new Set<number>()
    for (let moment = 0; moment < MOMENTS; moment++) {
      const stop = new AbortController()
      goingOn.add(moment)
      void new Syncer(settings, recordedLog()).run(stop.signal).then(() => goingOn.delete(moment))
      for (let turn = 0; turn < moment; turn++) await setImmediate()
      stop.abort(new Error('the end'))
    }
    await until(
      () => goingOn.size === 0 && proxy.connections === 0,
      () => `stopped after ${[...goingOn]} turns; ${proxy.connections} connections`,
      20_000,
    )
    assert.equal(goingOn.size, 0)
  } finally {
    await proxy.stop()
    await slapd.stop()
    rmSync(folder, { recursive: true })
  }
})
