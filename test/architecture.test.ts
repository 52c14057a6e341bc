// ARCHITECTURE.md says what is so: its rooms, and where to add something. Imports are held against its
// table in rooms.test.ts.
import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { describe, test } from 'node:test'
import { architecture, tableBelow } from './support/architecture'
import { REPOSITORY } from './support/haraka'

const HOUSE = path.join(REPOSITORY, 'plugins', 'gal-relay')
const sources = readdirSync(HOUSE, { recursive: true, encoding: 'utf8' })
  .filter((file) => file.endsWith('.ts'))
  .map((file) => ({ file, text: readFileSync(path.join(HOUSE, file), 'utf8') }))

/** Files that say the word as a name in code: quoted, as a key or as an identifier. */
function usersOf(word: string): string[] {
  const named = new RegExp(`['"]${word}['"]|(?<![\\w-])${word}(?::|\\()`)
  return (
    sources
      .filter(({ text }) => named.test(text.replace(/^\s*(\/\/|\*|\/\*).*$/gm, '')))
      .map(({ file }) => file)
      // They write settings, in words.
      .filter((file) => !/^(import|setup)\//.test(file))
  )
}

const codes = (cell: string) => [...cell.matchAll(/`([^`]+)`/g)].map(([, code = '']) => code)

describe('ARCHITECTURE.md', () => {
  const recipes = tableBelow('## Where to add …')

  test('has recipes', () => {
    assert.ok(recipes.length >= 5)
  })

  for (const [what = '', example = '', files = ''] of recipes) {
    test(`names all files for ${what}`, () => {
      const [word = ''] = codes(example)
      const given = codes(files)
      for (const file of given)
        assert.ok(
          sources.some((one) => one.file === file),
          file,
        )
      assert.deepEqual(usersOf(word).sort(), [...given].sort())
    })
  }

  test('names files that exist', () => {
    const named = [...architecture.matchAll(/`((?:\w[\w-]*\/)+[\w.-]+\.(?:ts|md|ini|json))`/g)]
    const missing = named.map(([, file = '']) => file).filter((file) => !isThere(file))
    assert.deepEqual(missing, [])
  })
})

function isThere(file: string): boolean {
  return [HOUSE, REPOSITORY].some((folder) => {
    try {
      readFileSync(path.join(folder, file))
      return true
    } catch {
      return false
    }
  })
}
