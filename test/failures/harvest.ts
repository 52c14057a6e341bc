// Harvest defence while everything in it that nobody waits for throws: the counts in Redis and the socket
// of the gal-relay command. The counts of a cluster are in servers.ts.

import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import { VALID } from '../gal/load'
import { runCommand } from '../support/command'
import { type Faults, READ_EVERY } from '../support/faults'
import { type Haraka, startHaraka } from '../support/haraka'
import { startRedis } from '../support/redis-server'
import type { Slapd } from '../support/slapd'
import { connectSmtp } from '../support/smtp'
import { until } from '../support/until'

let clients = 0

/** Sends valid and unknown recipients from four new clients, which are answered as if nothing had failed. */
export async function sendToUnknown(haraka: Haraka): Promise<void> {
  for (let i = 0; i < 4; i++) await rcpts(haraka, `198.18.0.${++clients % 250}`, 80)
}

async function rcpts(haraka: Haraka, client: string, count: number): Promise<void> {
  const smtp = await connectSmtp({
    port: haraka.port,
    proxy: { client, local: '10.0.0.5:25' },
  })
  await smtp.ehlo()
  await smtp.mail('a@sender.test')
  for (let i = 0; i < count; i++) {
    const isValid = i < 0.75 * count
    const address = isValid ? (VALID[i % 100] as string) : `made-up${i}@example.com`
    assert.equal((await smtp.rcpt(address)).code, isValid ? 250 : 550)
  }
  await smtp.quit()
}

/** Sections of gal_relay.ini. The clients of `sendToUnknown` stay below `unknown_share`. */
export const HARVEST = `[harvest]
enabled = true
unknown_limit = 6
slow_down = 10ms to 20ms
`

/** @throws AssertionError with the first such lines of the log */
export function assertNothingUncaught(haraka: Haraka): void {
  const log = haraka.log()
  const at = log.search(/\[CRIT\]|uncaught|unhandled/i)
  assert.equal(at < 0 ? '' : log.slice(at, at + 2000), '')
}

/** Throws one by one while mail comes in, until each has been thrown. */
export async function throwEach(
  faults: Faults,
  haraka: Haraka,
  names: readonly string[],
): Promise<void> {
  for (const name of names) {
    faults.begin(name, name)
    await until(
      async () => {
        await sendToUnknown(haraka)
        return isThrown(faults, name)
      },
      () => name,
    )
  }
}

const isThrown = (faults: Faults, name: string) => faults.thrown().some(({ what }) => what === name)

/** One process that counts in Redis, and both sides of the socket of the gal-relay command. */
export async function harvest(faults: Faults, slapd: Slapd): Promise<void> {
  const redis = await startRedis()
  const ini = `[routes]
example.com = inbound
[ldap]
url[] = ${slapd.url}
base = ${slapd.base}
${HARVEST}`
  const socket = 'socket for the gal-relay command'
  faults.begin('start', socket)
  const haraka = await startHaraka({ isGraceful: true, env: faults.env, ini })
  try {
    await haraka.waitForLog(/the gal-relay command cannot reach this server/)
    assert.equal((await ask(faults, haraka)).code, 2)

    const connecting = ['connection to Redis', 'connection to Redis is ready']
    faults.begin('Redis', ...connecting)
    await haraka.reload(`${ini}[redis]\nurl = ${redis.url}\n`)
    await until(() => connecting.every((name) => isThrown(faults, name)))
    const names = ['who is held off, by Redis', 'count of a network', 'answer that is given later']
    await throwEach(faults, haraka, names)
    faults.begin('')
    await sendToUnknown(haraka)
    const logged = (name: string) => haraka.log().includes(`failure in ${name}: `)
    assert.deepEqual(
      [socket, ...connecting, ...names].filter((name) => !logged(name)),
      [],
    )
    assertNothingUncaught(haraka)
    faults.begin('end')
    await sleep(2 * READ_EVERY)
    assert.equal((await haraka.end()).signal, null)

    faults.begin('')
    haraka.writeConfig('gal_relay.ini', ini)
    await haraka.restart()
    await theSocket(faults, haraka)
  } finally {
    await haraka.stop('SIGKILL')
    await redis.stop()
  }
}

const ask = (faults: Faults, { dir }: Haraka) =>
  runCommand(['harvest', '-c', dir], { env: faults.env })

/** Each side of the socket throws. The command reports by its exit code that it has failed. */
async function theSocket(faults: Faults, haraka: Haraka): Promise<void> {
  assert.equal((await ask(faults, haraka)).code, 0)
  for (const what of ['connection of the gal-relay command', 'request of the gal-relay command']) {
    faults.begin(what, what)
    await ask(faults, haraka)
  }
  for (const what of [
    'connection to the server',
    'answer of the server',
    'end of the answer of the server',
  ]) {
    faults.begin(what, what)
    assert.equal((await ask(faults, haraka)).code, 2, what)
  }
  faults.begin('')
  assert.equal((await ask(faults, haraka)).code, 0)
  assert.equal(haraka.logLines(/failure in (connection|request) of the gal-relay/).length, 2)
  await haraka.end('SIGKILL')
  const gone = 'error of the socket to the server'
  faults.begin(gone, gone)
  assert.equal((await ask(faults, haraka)).code, 2)
}
