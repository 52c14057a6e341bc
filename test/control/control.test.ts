// The socket by which the gal-relay command reaches a running server.
import assert from 'node:assert/strict'
import { existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, before, describe, test } from 'node:test'
import { askServer, NoServer } from '../../plugins/gal-relay/control/client'
import { type Control, openControl, socketFile } from '../../plugins/gal-relay/control/server'
import { ROOT_AND_US } from '../../plugins/gal-relay/trusted-file'

const lines: string[] = []
const line = (text: string) => void lines.push(text)
const LOG = { debug: line, info: line, notice: line, warn: line, error: line }

describe('the socket of the gal-relay command', () => {
  let folder: string
  let file: string
  let control: Control
  const open = () => openControl(file, ROOT_AND_US, undefined, LOG)
  before(async () => {
    folder = mkdtempSync(path.join(tmpdir(), 'control-'))
    file = socketFile(path.join(folder, 'config'))
    control = await open()
    control.handle('echo', (request) => request)
    control.handle('fail', () => {
      throw new Error('of the test')
    })
  })
  after(() => {
    control.close()
    rmSync(folder, { recursive: true })
  })

  test('stands beside config/, for its owner alone', () => {
    assert.equal(file, path.join(folder, 'gal_relay.sock'))
    assert.equal(statSync(file).mode & 0o777, 0o600)
    assert.deepEqual(lines, [])
  })

  test('hands each request to its handler', async () => {
    const request = { command: 'echo', address: 'jörg@example.com', list: [1, 2] }
    const answers = await Promise.all(Array.from({ length: 20 }, () => askServer(file, request)))
    for (const answer of answers) assert.deepEqual(answer, request)
  })

  test('survives what is no request, and handlers that fail', async () => {
    await assert.rejects(askServer(file, { command: 'none' }), /does not know the command/)
    await assert.rejects(askServer(file, { command: 'fail' }), NoServer)
    for (const text of ['\n', 'null\n', '[]\n', '{"command":{}}\n', '{', 'x'.repeat(200_000)]) {
      await new Promise<void>((resolve) => {
        const socket = connect(file, () => socket.write(text))
        socket.on('data', () => {})
        socket.on('error', () => {})
        socket.on('close', () => resolve())
        if (text === '{') socket.end()
      })
    }
    assert.deepEqual(await askServer(file, { command: 'echo' }), { command: 'echo' })
  })

  test('takes the place of one that was left behind, and of nothing else', async () => {
    control.close()
    assert.ok(!existsSync(file))
    await assert.rejects(askServer(file, { command: 'echo' }), NoServer)
    writeFileSync(file, 'kept')
    control = await open()
    assert.match(lines.join(), /cannot reach this server by .*something else is there/)
    assert.equal(statSync(file).isFile(), true)
    rmSync(file)
    control.close()
    control = await open()
    control.handle('echo', (request) => request)
    assert.deepEqual(await askServer(file, { command: 'echo' }), { command: 'echo' })
  })

  test('is not made in a folder that others may write to, nor with a name that is too long', async () => {
    lines.length = 0
    const open = await openControl('/tmp/gal_relay.sock', ROOT_AND_US, undefined, LOG)
    open.close()
    const long = await openControl(path.join(folder, 'x'.repeat(120)), ROOT_AND_US, undefined, LOG)
    long.close()
    assert.match(
      lines.join('\n'),
      /others may write to the folder \/tmp.*\n.*too long for a socket/,
    )
    assert.ok(!existsSync('/tmp/gal_relay.sock'))
  })
})
