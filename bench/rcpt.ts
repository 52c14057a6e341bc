// What a recipient costs: `npm run bench -- rcpt`. First comes a Haraka whose plugin only looks into a
// JavaScript Set; that is as fast as any plugin can be, and counts as 1. Then one row for each way in which
// this plugin can answer, and Postfix if it is installed. All servers are started here, on loopback. CPU is
// the user and system time of all processes of the server, without the directory's.
import { type Addressed, recipientLoad } from './client'
import {
  type Contender,
  hasPostfix,
  javascriptSet,
  live,
  postfixHash,
  postfixLdap,
  type Site,
  snapshot,
  startSite,
  switched,
  user,
} from './contenders'
import type { Sizes } from './sizes'
import { table } from './table'
import { comparedAll, type Figures, median, medianOf, Subject, times } from './turns'

const HEAD = ['rcpt/s', '×', 'CPU µs', '×', 'p50 ms', 'p99 ms', 'wrong']

/** Alternates between valid and unknown recipients; none is repeated before all have been used. */
export function recipients(entries: number): () => Addressed {
  let count = 0
  return () => {
    const i = (Math.floor(count / 2) * 7919) % entries
    return count++ % 2 === 0
      ? { address: user(i), code: 250 }
      : { address: `nobody${i}@example.com`, code: 550 }
  }
}

/** @param words selects the rows whose names contain all of them; if empty, every row */
export async function rcpt(sizes: Sizes, words: readonly string[]): Promise<void> {
  const { entries } = sizes
  const site = await startSite(entries, true)
  try {
    const rows = [
      live(site, 'cold', 'near'),
      live(site, 'warm', 'near'),
      live(site, 'cold', 'away'),
      live(site, 'warm', 'away'),
      snapshot(site),
      ...(await postfixes(site, entries)),
    ]
    await compare(entries, rows, words, sizes)
    await whatLogAndMetricsCost(site, sizes, words)
  } finally {
    await site.stop()
  }
}

/** Like {@link rcpt}, with a large directory, in the modes for which its size might matter. */
export async function large(sizes: Sizes, words: readonly string[]): Promise<void> {
  const site = await startSite(sizes.large)
  try {
    const ldap = (await hasPostfix('ldap')) ? [postfixLdap(site)] : []
    const rows = [live(site, 'cold', 'near'), snapshot(site), ...ldap]
    await compare(sizes.large, rows, words, sizes)
  } finally {
    await site.stop()
  }
}

async function postfixes(site: Site, entries: number): Promise<Contender[]> {
  return [
    ...((await hasPostfix('ldap')) ? [postfixLdap(site)] : []),
    ...((await hasPostfix('hash')) ? [postfixHash(entries)] : []),
  ]
}

async function compare(
  entries: number,
  rows: readonly Contender[],
  words: readonly string[],
  sizes: Sizes,
): Promise<void> {
  const chosen = rows.filter(({ name }) => words.every((word) => name.includes(word)))
  if (chosen.length === 0) return
  const ceiling = javascriptSet(entries)
  const load = () => recipientLoad(recipients(entries))
  const measured = await comparedAll(ceiling, chosen, load, sizes)
  const ceilings = measured.flatMap(({ pairs }) =>
    pairs.map(({ beside }) => ({ turns: beside, beside })),
  )
  const cells = [{ name: ceiling.name, pairs: ceilings }, ...measured].map((row) => {
    const { name, pairs } = row
    const of = (key: keyof Figures, digits: number) => medianOf(row, key).toFixed(digits)
    const by = (key: keyof Figures) => times(row, key).toFixed(2)
    const turns = pairs.flatMap((pair) => pair.turns)
    const wrong = turns.reduce((sum, turn) => sum + turn.wrong, 0)
    return [
      ...[name, of('rate', 0), by('rate'), of('cpu', 1), by('cpu')],
      ...[of('p50', 2), of('p99', 2), String(wrong)],
    ]
  })
  table([`${entries.toLocaleString('en')} recipients`, ...HEAD], cells)
}

/**
 * Switches both off and on in one server, in turns. Two servers would differ by more than the cost itself,
 * because no two processes are compiled and laid out in memory alike. Even in one server, turns differ from
 * each other by more than the cost, so many turns are needed.
 */
async function whatLogAndMetricsCost(
  site: Site,
  sizes: Sizes,
  words: readonly string[],
): Promise<void> {
  const { contender, toggle } = switched(site)
  if (!words.every((word) => contender.name.includes(word))) return
  const subjects: Subject[] = []
  try {
    const load = () => recipientLoad(recipients(sizes.entries))
    const ceiling = await Subject.start(javascriptSet(sizes.entries), load(), sizes)
    subjects.push(ceiling)
    const subject = await Subject.start(contender, load(), sizes)
    subjects.push(subject)
    for (let round = 0; round < sizes.switched * sizes.rounds; round++) {
      if (round % sizes.switched === 0) {
        await ceiling.unmeasured(sizes.turn)
        await ceiling.turn(sizes.turn)
      }
      for (const _ of ['off', 'on']) {
        toggle()
        // Reports of the previous turn arrive during these unmeasured replies.
        await subject.unmeasured(sizes.turn)
        await subject.turn(sizes.turn)
      }
    }
    const cpu = subject.turns.map((turn) => turn.cpu)
    const costs = cpu.flatMap((on, i) => (i % 2 === 1 ? [on - (cpu[i - 1] ?? 0)] : []))
    const cost = median(costs)
    const share = (100 * cost) / median(ceiling.turns.map((turn) => turn.cpu))
    console.log()
    table(
      ['', 'CPU µs', 'of the Set’s'],
      [[contender.name, cost.toFixed(1), `${share.toFixed(1)} %`]],
    )
  } finally {
    for (const subject of subjects) await subject.stop()
  }
}
