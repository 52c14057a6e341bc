// The fenced blocks of the documentation, for tests that run them.
import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { REPOSITORY } from './haraka'

export interface Block {
  /** `docs/metrics.md` */
  readonly page: string
  /** The number of the first line in the block. */
  readonly line: number
  readonly language: string
  readonly text: string
  /** The prose since the previous block. */
  readonly before: string
}

export const PAGES: readonly string[] = [
  'README.md',
  ...readdirSync(path.join(REPOSITORY, 'docs'))
    .filter((file) => file.endsWith('.md'))
    .map((file) => `docs/${file}`),
]

export const readPage = (page: string) => readFileSync(path.join(REPOSITORY, page), 'utf8')

export function blocksOf(page: string): Block[] {
  const blocks: Block[] = []
  const text = readPage(page)
  let end = 0
  for (const fence of text.matchAll(/^```(\w*)\n([\s\S]*?)^```$/gm)) {
    const [whole, language = '', content = ''] = fence
    const line = text.slice(0, fence.index).split('\n').length + 1
    blocks.push({ page, line, language, text: content, before: text.slice(end, fence.index) })
    end = fence.index + whole.length
  }
  return blocks
}

/** The ini file in config/ that the paragraph before a block names last; default gal_relay.ini. */
export function fileOf({ before }: Block): string {
  const [paragraph = ''] = before
    .trim()
    .split(/\n\s*\n/)
    .slice(-1)
  return [...paragraph.matchAll(/`config\/([\w.]+\.ini)`/g)].at(-1)?.[1] ?? 'gal_relay.ini'
}

/** Whether a configuration is complete: it names a directory. */
export const isWhole = ({ text }: Pick<Block, 'text'>) => /^\[ldap\]$/m.test(text)

/** The only complete configuration on a page, such as `openldap.md`. */
export function wholeOf(page: string): string {
  const found = blocksOf(`docs/${page}`).filter((one) => one.language === 'ini' && isWhole(one))
  assert.equal(found.length, 1, `${page} has one whole configuration`)
  return found[0]?.text ?? ''
}

/** [text in the docs, the text for it in the test] */
export type Replacements = readonly (readonly [string, string])[]

export const real = (text: string, replacements: Replacements) =>
  replacements.reduce((all, [from, to]) => all.replaceAll(from, to), text)
