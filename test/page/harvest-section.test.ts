// Who is held off, on the status page and in the metrics.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { harvestSection, sharingTroubles } from '../../plugins/gal-relay/page/harvest-section'
import { reportOf } from '../../plugins/gal-relay/report/install'
import { registryOf } from '../../plugins/gal-relay/report/metrics'
import { busyInstall } from '../support/install-report'

const NOW = Date.now()
const ASKED = new URLSearchParams()
const report = busyInstall(NOW)

test('each network has one row, with what the process knows that found it out', () => {
  const { text = '' } = harvestSection(report, ASKED, NOW) ?? {}
  assert.equal([...text.matchAll(/<tr><th scope="row">/g)].length, 2)
  assert.match(
    text,
    /203\.0\.113\.9<\/code><\/th>\n<td [^>]*>31 of 33<\/td>.*?28 minutes.*?mx1\.test/s,
  )
  assert.match(text, /2001:db8:1:2::\/64<\/code> \(only observed\)/)
  assert.equal(
    harvestSection(report, ASKED, NOW + 3_600_000)?.text.includes('Nobody is held off.'),
    true,
  )
})

test('there is no section where the defence is off', () => {
  const processes = report.processes.map((one) => ({ ...one, harvest: undefined }))
  assert.equal(harvestSection(reportOf(processes), ASKED, NOW), undefined)
})

test('a Redis that cannot be asked is among the troubles, and in the metrics', async () => {
  assert.deepEqual(sharingTroubles(report), [])
  const [one, two] = report.processes
  assert.ok(one?.harvest && two)
  const redis = { server: 'redis://redis.test:6379', state: 'down', lastError: 'OOM' } as const
  const away = reportOf([{ ...one, harvest: { ...one.harvest, redis } }, two])
  assert.match(
    sharingTroubles(away).join(),
    /by 1 of 2 processes \(redis:\/\/redis\.test:6379\): OOM/,
  )
  const text = await registryOf(away, NOW).metrics()
  assert.match(text, /^gal_relay_redis_up 0$/m)
  assert.match(await registryOf(report, NOW).metrics(), /^gal_relay_redis_up 1$/m)
  assert.match(text, /^gal_relay_harvest_held_off 2$/m)
})
