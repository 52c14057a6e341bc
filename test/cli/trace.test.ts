// `gal-relay trace`: a recipient's lines out of a log in each of Haraka's formats.
import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, before, describe, test } from 'node:test'
import { gzipSync } from 'node:zlib'
import { loadCommand } from '../support/command'

const { runCommand } = loadCommand()

const A = '8D6E7A4F-52CF-4F6B-9F0B-3B6C2C1F6A11'
const B = '11111111-52CF-4F6B-9F0B-3B6C2C1F6A11'

/** [uuid, origin, message, fields] */
type Line = readonly [string, string, string, Readonly<Record<string, string>>?]

const LINES: readonly Line[] = [
  ['-', 'gal-relay', 'alice@example.com belongs to several entries'],
  [A, 'core', 'connect', { ip: '192.0.2.7' }],
  [B, 'core', 'connect', { ip: '192.0.2.8' }],
  [`${A}.1`, 'core', 'sender <x@shop.test>', { code: 'CONT' }],
  [`${B}.1`, 'core', 'sender <ALICE@example.com>', { code: 'CONT' }],
  [
    `${A}.1`,
    'gal-relay',
    'accepted',
    { ip: '192.0.2.7', recipient: 'Alice@example.com', rule: 'in-gal' },
  ],
  [`${A}.1`, 'queue/lmtp', 'delivered'],
  [`${A}.2`, 'gal-relay', 'refused', { recipient: 'malice@example.com' }],
  [`${A}.3`, 'gal-relay', 'refused', { recipient: '"a \\"b\\" c"@example.com' }],
  [B, 'core', 'disconnect', { ip: '192.0.2.8' }],
  [A, 'core', 'disconnect', { ip: '192.0.2.7' }],
  [`${A}.1.1`, 'outbound', 'delivered file=x'],
]

/** As Haraka's logger has it. */
const FORMATS: Readonly<Record<string, (line: Line) => string>> = {
  default: ([uuid, origin, message, fields]) =>
    `2026-11-28T13:48:55.139Z [NOTICE] [${uuid}] [${origin}] ${[message, stringify(fields)].filter(Boolean).join(' ')}`,
  logfmt: ([uuid, origin, message, fields]) =>
    `Nov 28 13:48:55 mx haraka[7]: ${stringify({ level: 'NOTICE', uuid, origin, message, ...fields })}`,
  json: ([uuid, origin, message, fields]) =>
    JSON.stringify({ level: 'NOTICE', uuid, origin, message, ...fields }),
}

function stringify(fields: Readonly<Record<string, string>> = {}): string {
  return Object.entries(fields)
    .map(([key, value]) =>
      /(^$|[ ="\\])/.test(value)
        ? `${key}="${value.replace(/["\\]/g, '\\$&')}"`
        : `${key}=${value}`,
    )
    .join(' ')
}

describe('trace', () => {
  let dir: string
  before(() => {
    dir = mkdtempSync(path.join(tmpdir(), 'logs-'))
  })
  after(() => rmSync(dir, { recursive: true, force: true }))

  const places = (text: string, format: string) => {
    const lines = LINES.map((line) => FORMATS[format]?.(line) ?? '')
    return text.split('\n').flatMap((line) => (lines.includes(line) ? [lines.indexOf(line)] : []))
  }

  for (const [format, write] of Object.entries(FORMATS)) {
    test(`a recipient, a connection and a transaction, with format = ${format}`, async () => {
      const log = `Starting up Haraka\n${LINES.map(write).join('\n')}\n`
      const file = path.join(dir, `${format}.log`)
      writeFileSync(file, log)
      writeFileSync(`${file}.gz`, gzipSync(log))
      const found = async (what: string, ...logs: string[]) => {
        const { code, stdout, stderr } = await runCommand(['trace', what, ...logs], { input: log })
        assert.deepEqual([code, stderr], [0, ''])
        return places(stdout, format)
      }
      // Of both connections as a whole, and the transactions in which she is named.
      const alice = [1, 3, 5, 6, 10, 11]
      assert.deepEqual(
        (await found('alice@example.com', file)).sort((a, b) => a - b),
        [...[1, 2, 3, 4, 5, 6, 9, 10, 11]],
      )
      assert.deepEqual(await found('<malice@example.com>', `${file}.gz`), [1, 7, 10])
      assert.deepEqual(
        await found('"a \\"b\\" c"@example.com'.replaceAll('\\\\', '\\')),
        [1, 8, 10],
      )
      assert.deepEqual(await found(A.toLowerCase()), [1, 3, 5, 6, 7, 8, 10, 11])
      assert.deepEqual(await found(`${A}.1`, '-'), alice)
      const { code, stdout } = await runCommand(['trace', '--json', 'malice@example.com', file])
      assert.equal(code, 0)
      const { connections } = JSON.parse(stdout) as {
        readonly connections: readonly {
          readonly uuid: string
          readonly lines: readonly string[]
        }[]
      }
      assert.deepEqual(
        connections.map(({ uuid, lines }) => [uuid, lines.length]),
        [[A, 3]],
      )
    })
  }

  test('nothing there ends with 1; what cannot be read, or is none, with 2', async () => {
    const log = LINES.map(FORMATS.default ?? String).join('\n')
    const none = await runCommand(['trace', 'bob@example.com'], { input: log })
    assert.deepEqual(none, {
      code: 1,
      stdout: 'the log has nothing about bob@example.com\n',
      stderr: '',
    })
    mkdirSync(path.join(dir, 'folder'))
    writeFileSync(path.join(dir, 'broken.gz'), gzipSync(log).fill(0, 10))
    for (const [args, error] of [
      [['bob'], /^'bob' is neither a mail address nor the id of a connection\n$/],
      [[], /^error: missing required argument 'address\|id'\n$/],
      [['a@b.test', path.join(dir, 'nowhere')], /^there is no file \S+nowhere\n$/],
      [['a@b.test', path.join(dir, 'folder')], /folder is a folder; name the files in it\n$/],
      [['a@b.test', path.join(dir, 'broken.gz')], /broken\.gz cannot be read: [^\n]+\n$/],
      [['a@b.test'], /^there is no line of Haraka's logger in the log\n$/],
    ] as const) {
      const { code, stdout, stderr } = await runCommand(['trace', ...args], { input: 'x\ny\n' })
      assert.deepEqual([code, stdout], [2, ''], args.join(' '))
      assert.match(stderr, error)
    }
  })
})
