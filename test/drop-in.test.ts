// The package as a postmaster gets it: packed, installed with npm into a new Haraka, and enabled there
// beside the plugins that Haraka enables by default.
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { lstatSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, before, describe, test } from 'node:test'
import { promisify } from 'node:util'
import { type EmbeddedLdap, startEmbeddedLdap } from './support/embedded-ldap'
import { type Haraka, startHaraka } from './support/haraka'
import { npm, packedPackage } from './support/shell'
import { connectSmtp } from './support/smtp'

const run = promisify(execFile)
const MESSAGE = 'Subject: hello\r\n\r\nhello\r\n'

describe('a new install', () => {
  let folder: string
  let directory: EmbeddedLdap
  /** The mail server that queue/smtp_forward passes the mail to. */
  let mailbox: Haraka
  let files: readonly string[]
  /** What `haraka -i` enables. */
  let defaults: readonly string[]

  before(async () => {
    folder = mkdtempSync(path.join(tmpdir(), 'drop-in-'))
    const pack = await packedPackage()
    files = pack.contents

    const haraka = path.join(path.dirname(require.resolve('haraka/package.json')), 'bin', 'haraka')
    await run(process.execPath, [haraka, '-i', path.join(folder, 'mx')])
    defaults = readFileSync(path.join(folder, 'mx', 'config', 'plugins'), 'utf8')
      .split('\n')
      .filter((line) => line !== '' && !line.startsWith('#'))
    await npm(
      path.join(folder, 'mx'),
      'install',
      '--no-audit',
      '--no-fund',
      '--prefer-offline',
      pack.file,
    )

    directory = await startEmbeddedLdap(['alice@example.com', 'alice@host.example'])
    mailbox = await startHaraka({
      proxy: false,
      plugins: ['rcpt_to.in_host_list', 'test-queue'],
      hostList: ['example.com', 'host.example'],
    })
  })
  after(async () => {
    await mailbox?.stop()
    await directory?.stop()
    rmSync(folder, { recursive: true, force: true })
  })

  test('gets the files that it needs, and no others', () => {
    for (const file of [
      'README.md',
      'LICENSE',
      'CHANGELOG.md',
      'config/gal_relay.ini',
      'dist/plugins/gal-relay.js',
    ]) {
      assert.ok(files.includes(file), `${file} is not in the package`)
    }
    const other = files.filter(
      (file) =>
        !/^dist\/plugins\/.*\.(js|css)$|^(config|docs)\/|^[A-Z]+(\.md)?$|^package\.json$/.test(
          file,
        ),
    )
    assert.deepEqual(other, [])
    const installed = path.join(folder, 'mx', 'node_modules', 'haraka-plugin-gal-relay')
    assert.ok(!lstatSync(installed).isSymbolicLink())
  })

  for (const [name, nodes, enable] of [
    ['in place of rcpt_to.in_host_list, nodes unset', 'unset', ['gal-relay']],
    ['before rcpt_to.in_host_list, nodes = 2', 2, ['gal-relay', 'rcpt_to.in_host_list']],
  ] as const) {
    test(`gives the usual answers: ${name}`, async () => {
      const dir = path.join(folder, 'mx')
      const enabled: readonly string[] = enable
      const plugins = defaults.flatMap((plugin) =>
        plugin === 'rcpt_to.in_host_list' ? enabled : [plugin],
      )
      assert.ok(
        plugins.includes('gal-relay') && plugins.includes('queue/smtp_forward'),
        plugins.join(),
      )
      const haraka = await startHaraka({
        dir,
        nodes,
        plugins,
        hostList: ['host.example'],
        ini: `[routes]
example.com = inbound
[restrictions]
hosts[] = 192.168.1.0/24
[ldap]
url[] = ${directory.url}
base = ${directory.base}
`,
        files: { 'config/smtp_forward.ini': `host=127.0.0.1\nport=${mailbox.port}\n` },
      })
      try {
        const before = {
          delivered: mailbox.delivered().length,
          outbound: haraka.outboundMessages().length,
        }
        const to = [
          'alice@example.com',
          'nobody@example.com',
          'friend@elsewhere.example',
          'alice@host.example',
          'nobody@host.example',
        ]
        for (let round = 0; round < 2; round++) {
          for (const [client, foreign] of [
            ['203.0.113.9', 550],
            ['192.168.1.7', 250],
          ] as const) {
            const smtp = await connectSmtp({
              port: haraka.port,
              proxy: { client, local: '10.0.0.5:25' },
            })
            await smtp.ehlo()
            // mail_from.is_resolvable asks DNS for every other sender
            const { rcpt, data } = await smtp.transaction('', to, MESSAGE)
            assert.deepEqual(
              rcpt.map(({ code }) => code),
              [250, 550, foreign, 250, 550],
              client,
            )
            assert.equal(data?.code, 250, data?.line)
            await smtp.quit()
          }
        }
        const delivered = mailbox.delivered().slice(before.delivered)
        assert.deepEqual(
          delivered.map(({ rcpt_to }) => rcpt_to),
          Array(4).fill(['alice@example.com', 'alice@host.example']),
        )
        const outbound = haraka.outboundMessages().slice(before.outbound)
        assert.deepEqual(
          outbound.map(({ rcpt_to }) => rcpt_to),
          Array(2).fill(['friend@elsewhere.example']),
        )
        assert.deepEqual(
          haraka.logLines(/\[WARN\] \[-\] \[gal-relay\]|exception|\[gal-relay\] failed/),
          [],
        )
      } finally {
        await haraka.stop()
      }
    })
  }

  test('has the command, by name and with npx, and it reads that install', async () => {
    const mx = path.join(folder, 'mx')
    const question = ['alice@example.com', '--client', '203.0.113.9', '--listener', '10.0.0.5:25']
    const env = { ...process.env, HARAKA: undefined, NODE_TEST_CONTEXT: undefined }
    const command = path.join(mx, 'node_modules', '.bin', 'gal-relay')
    const elsewhere = { cwd: folder, env: { ...env, HARAKA: mx } }
    for (const { stdout } of [
      await run(command, ['--json', 'explain', ...question], { cwd: mx, env }),
      await run(command, ['--json', 'explain', ...question], elsewhere),
      await npm(mx, 'exec', '--', 'gal-relay', '--json', 'explain', ...question),
    ]) {
      const { recipients } = JSON.parse(stdout)
      assert.equal(recipients[0].reply, '250 recipient <alice@example.com> OK')
    }
    const { stdout } = await run(command, ['check'], { cwd: mx, env })
    assert.match(stdout, /^0 problems, /m)
  })
})
