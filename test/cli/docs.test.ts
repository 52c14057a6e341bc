// docs/commands.md is true: every command in it is run, in an install with the gal_relay.ini that the
// page shows last in its section, or else first of all, and prints what stands there, but for times and
// for where the directory is.
// `node dist/test/cli/docs.test.js --write` puts the real output into the page.
import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { describe, test } from 'node:test'
import { runCommand } from '../support/command'
import { REPOSITORY, writeInstall } from '../support/haraka'
import { skipWithout } from '../support/programs'
import { startSlapd } from '../support/slapd'

const PAGE = path.join(REPOSITORY, 'docs', 'commands.md')
const BASE = 'dc=corp,dc=example'
const unit = (ou: string) => ({
  dn: `ou=${ou},${BASE}`,
  objectClass: 'organizationalUnit',
  ou,
  cn: undefined,
  sn: undefined,
})
const ENTRIES = [
  unit('People'),
  unit('Lists'),
  {
    dn: `cn=Alice Adams,ou=People,${BASE}`,
    mail: 'alice@example.com',
    proxyAddresses: ['SMTP:alice@example.com', 'smtp:a.adams@example.com'],
  },
  {
    dn: `cn=Board,ou=Lists,${BASE}`,
    mail: 'board@example.com',
    proxyAddresses: 'SMTP:board@example.com',
    msExchRequireAuthToSendTo: 'TRUE',
    msExchHideFromAddressLists: 'TRUE',
  },
]
const DIRECTORY = 'ldap://dc1.corp.example'
const FOLDER = '/srv/haraka'

/** @returns the page with the output that its commands have now */
async function withOutput(page: string): Promise<string> {
  const ldap = await startSlapd({ entries: ENTRIES, suffix: BASE })
  const root = mkdtempSync(path.join(tmpdir(), 'install-'))
  const shown = (text: string) => text.replaceAll(ldap.url, DIRECTORY).replaceAll(root, FOLDER)
  const configure = (ini: string) =>
    writeInstall(root, [25], { ini: ini.replaceAll(DIRECTORY, ldap.url) })
  const [, first = ''] = /^```ini\n([\s\S]*?)^```$/m.exec(page) ?? []
  try {
    const parts = page.split(/^(```(?:ini|console)\n[\s\S]*?^```\n)/m)
    for (const [index, part] of parts.entries()) {
      if (/^## /m.test(part)) configure(first)
      const [, kind, text = ''] = /^```(ini|console)\n([\s\S]*)```\n$/.exec(part) ?? []
      if (kind === 'ini') configure(text)
      if (kind !== 'console') continue
      const outputs: string[] = []
      for (const line of text.split('\n').filter((one) => one.startsWith('$ '))) {
        assert.match(line, /^\$ npx gal-relay /)
        const { stdout, stderr } = await runCommand(wordsOf(line).slice(3), { cwd: root })
        outputs.push(`${line}\n${shown(stdout + stderr).trimEnd()}\n`)
      }
      parts[index] = `\`\`\`console\n${outputs.join('\n')}\`\`\`\n`
    }
    return parts.join('')
  } finally {
    await ldap.stop()
    rmSync(root, { recursive: true, force: true })
  }
}

/** As a shell reads them: single quotes hold words together. */
const wordsOf = (line: string) =>
  Array.from(line.matchAll(/'([^']*)'|\S+/g), ([word, quoted]) => quoted ?? word)

/** What is another number each time. */
const timeless = (text: string) =>
  text.replace(/\d+(\.\d+)? ms/g, 'N ms').replace(/"milliseconds":[\d.]+/g, '"milliseconds":N')

if (process.argv.includes('--write')) {
  withOutput(readFileSync(PAGE, 'utf8')).then((page) => writeFileSync(PAGE, page))
} else {
  describe('docs/commands.md', { skip: skipWithout('slapd', 'slapadd') }, () => {
    test('shows what its commands print', async () => {
      const page = readFileSync(PAGE, 'utf8')
      assert.ok((page.match(/^\$ /gm) ?? []).length > 10)
      assert.equal(timeless(await withOutput(page)), timeless(page))
    })
  })
}
