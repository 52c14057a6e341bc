// Whole servers under a load of recipients, while everything that nobody waits for throws.
import assert from 'node:assert/strict'
import { mkdtempSync, renameSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { assertNothingWrong, type Load, startLoad, VALID } from '../gal/load'
import { makeAuthority } from '../support/certificates'
import { runCommand } from '../support/command'
import { type Faults, READ_EVERY } from '../support/faults'
import { type Haraka, startHaraka, writeInstall } from '../support/haraka'
import { startLmtp } from '../support/lmtp-server'
import { freePorts } from '../support/ports'
import { childrenOf } from '../support/processes'
import { type Slapd, startSlapd } from '../support/slapd'
import { connectSmtp, type Reply, type SmtpClient } from '../support/smtp'
import { startTcpProxy } from '../support/tcp-proxy'
import { until } from '../support/until'
import { assertNothingUncaught, HARVEST, sendToUnknown, throwEach } from './harvest'
import { startHop } from './hops'

const STRANGER = { client: '203.0.113.9', local: '10.0.0.5:25' }
const OBSERVED = { client: '203.0.113.9', local: '10.0.0.5:26' }
const OURS = { client: '192.0.2.7', local: '10.0.0.5:25' }
const MESSAGE = 'From: a@sender.test\r\nSubject: on it goes\r\n\r\nHello.\r\n'

const STATES = [
  ['250 ', 'found'],
  ['550 5.1.1 ', 'absent'],
  ['451 4.4.3 ', 'unavailable'],
] as const

/** RCPTs, several on each connection. A lost connection counts as a wrong answer. */
async function rcptLoad(haraka: Haraka): Promise<Load> {
  const free: SmtpClient[] = []
  async function answer(address: string): Promise<{ state: string }> {
    let smtp = free.pop()
    try {
      if (!smtp) {
        smtp = await connectSmtp({ port: haraka.port, proxy: STRANGER })
        await smtp.ehlo()
      }
      const { mail, rcpt } = await smtp.transaction('a@sender.test', [address, 'x@foreign.test'])
      assert.equal(mail.code, 250)
      assert.equal(rcpt[1]?.line, '550 5.7.1 Relaying is prohibited')
      await smtp.rset()
      const { line = '' } = rcpt[0] ?? {}
      if (free.length < 3) free.push(smtp)
      else await smtp.quit()
      return { state: STATES.find(([start]) => line.startsWith(start))?.[1] ?? line }
    } catch (error) {
      return { state: `wrong: ${error}` }
    }
  }
  const load = startLoad({ answer }, { askers: 5, pause: 120 })
  return {
    ...load,
    get now() {
      return load.now
    },
    async stop() {
      const asked = await load.stop()
      await Promise.all(free.map((smtp) => smtp.quit()))
      return asked
    },
  }
}

async function send(haraka: Haraka, to: readonly string[], from = OURS): Promise<number> {
  const smtp = await connectSmtp({ port: haraka.port, proxy: from })
  try {
    await smtp.ehlo()
    const { rcpt, data } = await smtp.transaction('a@sender.test', to, MESSAGE)
    return data?.code ?? rcpt[0]?.code ?? 0
  } finally {
    smtp.close()
  }
}

async function rcptOf(haraka: Haraka, address: string): Promise<Reply> {
  const smtp = await connectSmtp({ port: haraka.port, proxy: STRANGER })
  await smtp.ehlo()
  const { rcpt } = await smtp.transaction('a@sender.test', [address])
  await smtp.quit()
  return rcpt[0] as Reply
}

async function statusOf(port: number): Promise<number> {
  // The server may close a kept connection at the moment when it is used again.
  const headers = { connection: 'close' }
  const { status } = await fetch(`http://127.0.0.1:${port}/gal-relay/`, { headers })
  return status
}

/** Asserts that the log has every failure with its stack, and that the process goes on. */
async function assertLogged(haraka: Haraka, faults: Faults, except: readonly string[]) {
  const log = haraka.log()
  const names = new Set(faults.thrown().map(({ what }) => what))
  for (const name of except) names.delete(name)
  const unlogged = [...names].filter(
    (what) =>
      !log.includes(`failure in ${what}: fault in ${what}`) &&
      !log.includes(`failure in ${what}: Error: fault in ${what}`),
  )
  assert.deepEqual(unlogged, [])
  assert.match(log, /at .*throwIn|at .*faults\.js/)
  assertNothingUncaught(haraka)
}

function assertRight(asked: Awaited<ReturnType<Load['stop']>>): void {
  assertNothingWrong(asked, 60_000)
  const strange = asked.filter(({ state }) => !/^(found|absent|unavailable)$/.test(state))
  assert.deepEqual(strange.slice(0, 3), [])
}

/** One process that asks the directory, delivers by next hops, and has a status page. */
export async function oneProcess(faults: Faults, slapd: Slapd): Promise<void> {
  const authority = makeAuthority()
  const certificate = authority.issue()
  const proxy = await startTcpProxy(slapd.port)
  const good = await startHop(certificate, 'good')
  const bad = [
    await startHop(certificate, 'closes'),
    await startHop(certificate, 'resets'),
    await startHop(certificate, 'resets later'),
    await startHop(certificate, 'silent'),
  ]
  const lmtp = await startLmtp(() => '250 2.0.0 OK')
  const [http = 0, dead = 0] = await freePorts(2)
  const rows = (split: string) => `
good.test = always-relay smtps://localhost:${good.port}
closes.test = always-relay smtps://localhost:${bad[0]?.port}
resets.test = always-relay smtps://localhost:${bad[1]?.port}
silent.test = always-relay smtps://localhost:${bad[3]?.port}
later.test = always-relay smtps://localhost:${bad[2]?.port}
dead.test = always-relay smtps://localhost:${dead}
split.test = always-relay ${split}
`
  const ini = (split: string, remembered = '0s') => `[routes]
example.com = inbound
merged.test = inbound
${rows(split)}
[restrictions]
hosts[] = 192.0.2.7
[listener *:26]
enforce = false
[http]
enabled = true
[ldap]
url[] = ldap://127.0.0.1:${proxy.port}
base = ${slapd.base}
connect_timeout = 400ms
query_timeout = 400ms
answer_within = 2s
retry_after = 100ms to 500ms
[gal]
cache_found = ${remembered}
cache_absent = 0s
${['east', 'west']
  .map(
    (name) => `[directory ${name}]
domains[] = merged.test
url[] = ldap://127.0.0.1:${proxy.port}
base = ${slapd.base}
`,
  )
  .join('')}`
  faults.begin('start')
  const haraka = await startHaraka({
    plugins: ['test-retry', 'rcpt_to.in_host_list', 'gal-relay', 'test-queue'],
    outbound: true,
    env: faults.env,
    ini: ini(`smtp://127.0.0.1:${dead}`),
    files: {
      'config/http.ini': `listen=127.0.0.1:${http}\n`,
      'config/outbound.ini': 'temp_fail_intervals=2s*30\n',
    },
  })
  const { pid } = haraka
  const load = await rcptLoad(haraka)
  let sent = 0
  try {
    await load.untilAnswered()
    // If a message's second part cannot be stored after the first was, the sender hears of it.
    const queue = path.join(haraka.dir, 'queue')
    renameSync(queue, `${queue}.away`)
    // Either recipient may be deferred because of another failure.
    await until(async () => {
      await send(haraka, [VALID[0] as string, 'a@good.test']).catch(() => {})
      return faults.thrown().some(({ what }) => what === 'answer after a part could not be stored')
    })
    renameSync(`${queue}.away`, queue)

    const thrown = (...all: string[]) =>
      until(
        () => all.every((one) => faults.thrown().some(({ turn, what }) => has(turn, what, one))),
        () => all.join(),
      )
    const has = (turn: string, what: string, one: string) =>
      what === one || `${turn}: ${what}` === one
    for (const turn of ['mail', 'more mail']) {
      faults.begin(turn)
      await statusOf(http)
      for (const domain of ['good', 'closes', 'resets', 'later', 'dead', 'silent']) {
        if ((await send(haraka, [`a@${domain}.test`])) === 250 && domain === 'good') sent++
      }
      await send(haraka, [VALID[0] as string], OBSERVED)
      await rcptOf(haraka, 'nobody@merged.test')
      if (turn === 'mail') await send(haraka, ['a@split.test', 'b@split.test'])
      proxy.behave({ kind: 'hang' })
      await sleep(1500)
      proxy.behave({ kind: 'pass' })
      proxy.drop('reset')
      await load.untilAnswered()
    }
    faults.begin('settings')
    const change = (comment: string, remembered: string) => {
      const text = ini(`lmtp://127.0.0.1:${lmtp.port}`, remembered)
      haraka.writeConfig('gal_relay.ini', `; ${comment}\n${text}`)
      haraka.writeConfig('host_list', `${comment}.test\n`)
    }
    change('thrown-away', '0s')
    await thrown('settings: reload of the settings', 'settings: look at a file of the settings')
    // An address list with other settings replaces the former one.
    change('taken', '1ms')
    await thrown('changed file of the settings', 'end of a former address list')
    await thrown('next hop time-out')
    faults.begin('')
    await load.untilAnswered()
    assert.equal(await statusOf(http), 200)
    assert.equal(await send(haraka, ['a@good.test']), 250)
    sent++
    // A message may arrive twice, but must not be lost.
    await until(() => good.taken >= sent)
    await until(() => new Set(lmtp.taken).size === 2)
    assert.equal(haraka.pid, pid)
    assertRight(await load.stop())
    faults.begin('end')
    await sleep(2 * READ_EVERY)
    const { signal } = await haraka.end()
    assert.equal(signal, null)
    await assertLogged(haraka, faults, [])
  } finally {
    await load.stop()
    await haraka.stop('SIGKILL')
    await Promise.all([good.stop(), ...bad.map((one) => one.stop()), lmtp.stop()])
    await proxy.stop()
    authority.remove()
  }
}

const snapshotIni = ({ url, base }: Pick<Slapd, 'url' | 'base'>) => `[routes]
example.com = inbound
[gal]
mode = snapshot
[ldap]
url[] = ${url}
base = ${base}
[snapshot]
changes_every = 1s
[http]
enabled = true
`

/** Several processes that have the list in memory and count unknown recipients, and one that keeps the list. */
export async function cluster(faults: Faults): Promise<void> {
  const slapd = await startSlapd({ entries: VALID })
  const [http = 0] = await freePorts(1)
  faults.begin('start')
  const haraka = await startHaraka({
    ini: `${snapshotIni(slapd)}${HARVEST}`,
    nodes: 2,
    isGraceful: true,
    env: faults.env,
    files: { 'config/http.ini': `listen=127.0.0.1:${http}\n` },
  })
  const load = await rcptLoad(haraka)
  try {
    await load.untilAnswered()
    await haraka.waitForLog(/\[gal-relay\] snapshot: 100 recipients/)
    assert.ok(faults.thrown().some(({ what }) => what === 'start of a worker'))
    await throwEach(faults, haraka, ['message of the master process', 'message of a worker'])
    faults.begin('')
    await sendToUnknown(haraka)
    for (const turn of ['list', 'list again']) {
      faults.begin(turn)
      await slapd.add(`${turn.replace(' ', '')}@example.com`)
      for (let i = 0; i < 4; i++) await statusOf(http)
      await sleep(turn === 'list' ? 7000 : 5500)
    }
    // The master's question for a report gets lost, so that it waits for the answer in vain.
    let asked = 0
    await until(async () => {
      faults.begin(`question ${++asked}`, 'message of the master process')
      const status = statusOf(http)
      await sleep(200)
      faults.begin(`wait ${asked}`, 'answers of other processes')
      await status
      return faults.thrown().some(({ what }) => what === 'answers of other processes')
    })
    faults.begin('')
    await load.untilAnswered()
    await until(async () => (await statusOf(http)) === 200)
    assertRight(await load.stop())
    assert.equal((await rcptOf(haraka, 'listagain@example.com')).code, 250)
    faults.begin('end')
    await sleep(2 * READ_EVERY)
    // The system does this when memory runs out.
    const keeper = haraka.workers.find((pid) => childrenOf(pid).length > 0)
    assert.ok(keeper)
    const started = haraka.workers.length
    process.kill(keeper, 'SIGKILL')
    await until(() => faults.thrown().some(({ what }) => what === 'end of a worker'))
    // Until another worker has replaced it, Haraka's graceful end fails on its closed channel.
    await until(() => haraka.workers.length > started)
    await haraka.end()
    // Nobody is left to hear of the first; the parent could not hear of the second because of a failure.
    await assertLogged(haraka, faults, ['end of the parent process', 'start of keeping the list'])
  } finally {
    await load.stop()
    await haraka.stop('SIGKILL')
    await slapd.stop()
  }
}

/** The gal-relay command prints the stack and reports by its exit code that it has failed. */
export async function command(faults: Faults, slapd: Slapd): Promise<void> {
  // So far away that progress is reported before the list has been read.
  const proxy = await startTcpProxy(slapd.port)
  proxy.behave({ kind: 'delay', milliseconds: 300 })
  const dir = mkdtempSync(path.join(tmpdir(), 'command-'))
  const far = { url: `ldap://127.0.0.1:${proxy.port}`, base: slapd.base }
  writeInstall(dir, [25], { ini: snapshotIni(far) })
  const sync = () => runCommand(['sync', '-c', dir], { env: faults.env })
  try {
    for (const what of ['gal-relay', 'progress of gal-relay sync']) {
      faults.begin(what, what)
      const { code, stderr } = await sync()
      assert.equal(code, 2)
      assert.match(stderr, new RegExp(`Error: fault in ${what}\n +at `))
    }
    faults.begin('')
    assert.equal((await sync()).code, 0)
  } finally {
    await proxy.stop()
    rmSync(dir, { recursive: true, force: true })
  }
}
