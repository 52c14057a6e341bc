// Harvest defence, while all of it that nobody waits for throws: the counts in Redis, those of a cluster,
// and the socket of the gal-relay command.

import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import { VALID } from '../gal/load'
import { runCommand } from '../support/command'
import { type Faults, READ_EVERY } from '../support/faults'
import { type Haraka, type HarakaOptions, startHaraka } from '../support/haraka'
import { startRedis } from '../support/redis-server'
import { startSlapd } from '../support/slapd'
import { connectSmtp } from '../support/smtp'
import { until } from '../support/until'

/** Valid and unknown recipients from a new client. */
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

export async function harvest(faults: Faults): Promise<void> {
  const slapd = await startSlapd({ entries: VALID })
  const redis = await startRedis()
  const ini = (more: string) => `[routes]
example.com = inbound
[ldap]
url[] = ${slapd.url}
base = ${slapd.base}
[harvest]
enabled = true
unknown_limit = 6
slow_down = 10ms to 20ms
${more}`
  const isThrown = (name: string) => faults.thrown().some(({ what }) => what === name)
  let client = 0
  const during = async (options: HarakaOptions, atStart: string, names: readonly string[]) => {
    faults.begin('start', atStart)
    const haraka = await startHaraka({ ...options, env: faults.env })
    try {
      const mail = async () => {
        for (let i = 0; i < 4; i++) await rcpts(haraka, `198.18.0.${++client % 250}`, 80)
      }
      await until(() => isThrown(atStart))
      for (const name of names) {
        faults.begin(name, name)
        await until(
          async () => {
            await mail()
            return isThrown(name)
          },
          () => name,
        )
      }
      faults.begin('')
      await mail()
      const logged = (name: string) => haraka.log().includes(`failure in ${name}: `)
      assert.deepEqual(
        [atStart, ...names].filter((name) => !logged(name)),
        [],
      )
      assert.doesNotMatch(haraka.log(), /\[CRIT\]|uncaught|unhandled/i)
      faults.begin('end')
      await sleep(2 * READ_EVERY)
      assert.equal((await haraka.end()).signal, null)
    } finally {
      await haraka.stop('SIGKILL')
    }
  }
  try {
    await during(
      { ini: ini(`[redis]\nurl = ${redis.url}\n`), isGraceful: true },
      'connection to Redis',
      [...['who is held off, by Redis'], ...['count of a network', 'answer that is given later']],
    )
    await during(
      { ini: ini(`[redis]\nurl = ${redis.url}\n`), isGraceful: true },
      'connection to Redis is ready',
      [],
    )
    await during({ ini: ini(''), nodes: 2, isGraceful: true }, 'start of a worker', [
      'message of the master process',
      'message of a worker',
    ])
    await theSocket(faults, ini(''))
  } finally {
    await redis.stop()
    await slapd.stop()
  }
}

/** Both of its sides; the command says that it could not do it. */
async function theSocket(faults: Faults, ini: string): Promise<void> {
  const start = 'socket for the gal-relay command'
  faults.begin(start, start)
  const haraka = await startHaraka({ ini, env: faults.env })
  const ask = () => runCommand(['harvest', '-c', haraka.dir], { env: faults.env })
  try {
    await haraka.waitForLog(/the gal-relay command cannot reach this server/)
    assert.equal((await ask()).code, 2)
    faults.begin('')
    await haraka.restart()
    assert.equal((await ask()).code, 0)
    for (const what of [
      'connection of the gal-relay command',
      'request of the gal-relay command',
    ]) {
      faults.begin(what, what)
      await ask()
    }
    for (const what of [
      'connection to the server',
      'answer of the server',
      'end of the answer of the server',
    ]) {
      faults.begin(what, what)
      assert.equal((await ask()).code, 2, what)
    }
    faults.begin('')
    assert.equal((await ask()).code, 0)
    assert.equal(haraka.logLines(/failure in (connection|request) of the gal-relay/).length, 2)
    await haraka.end('SIGKILL')
    const gone = 'error of the socket to the server'
    faults.begin(gone, gone)
    assert.equal((await ask()).code, 2)
  } finally {
    await haraka.stop('SIGKILL')
  }
}
