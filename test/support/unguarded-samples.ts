// What test/support/unguarded.ts finds, each line that it must find marked so, and what it must not.
// Never run.
import { fork } from 'node:child_process'
import cluster from 'node:cluster'
import { watchFile } from 'node:fs'
import { createServer, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { guard, later, unattended } from '../../plugins/gal-relay/guard'

const fail = () => {
  throw new Error('a sample')
}
const reject = async () => fail()

export function unguarded(socket: Socket, signal: AbortSignal, config: Haraka.Config): void {
  setTimeout(fail, 1) // found
  setInterval(() => fail(), 1).unref() // found
  setImmediate(fail) // found
  queueMicrotask(fail) // found
  process.nextTick(fail) // found
  process.on('exit', fail) // found
  cluster.on('message', fail) // found
  fork('x').once('exit', fail).send({}, fail) // found
  socket.on('binary', (chunk) => fail() ?? chunk) // found
  socket.addListener('binary', fail).end('x', fail) // found
  signal.addEventListener('abort', fail) // found
  watchFile('x', fail) // found
  createServer(fail).listen(1, fail) // found
  config.get('x.ini', 'binary', fail) // found
  void reject() // found
  reject() // found
  reject().then(fail) // found
  reject().catch(() => fail()) // found
  reject().finally(() => {}) // found
}

export async function guarded(socket: Socket, config: Haraka.Config): Promise<void> {
  later(1, 'a', fail, fail)
  const listener = guard('b', fail)
  socket.on('binary', listener).removeListener('data', listener)
  unattended('c', reject)
  config.get('x.ini', 'binary', listener)
  socket.on('error', () => {})
  reject().catch(() => {})
  await sleep(1)
  await reject().then(fail)
  await new Promise((resolve, no) => {
    socket.once('binary', resolve)
    socket.once('error', no)
    ;[1].forEach(fail)
  })
  return reject()
}
