// What gal-relay check finds of the lists in memory: their files, and whether these may be used.
import { accessSync, constants, existsSync, realpathSync } from 'node:fs'
import path from 'node:path'
import { directoryNames } from '../advice/directories'
import { readListKeys } from '../fleet/list-keys'
import { listDefinition } from '../gal/directory/list-definition'
import type { Finding } from '../gal/directory/probe'
import { OtherSettings } from '../gal/snapshot/file-format'
import { SKEW } from '../gal/snapshot/follower'
import { readListInForce } from '../gal/snapshot/in-force'
import { publishedList } from '../gal/snapshot/receiver'
import { counted } from '../report/words'
import type { DirectorySettings } from '../settings/directories'
import { carrierText } from '../settings/list-channel'
import type { SnapshotSettings } from '../settings/settings'
import { ROOT_AND_US, type Trusted, UntrustedFolder } from '../trusted-file'
import { foreignList } from './haraka-user'
import { isMissing } from './install'

/** Findings about one thing. */
export interface Section {
  readonly about: string
  readonly findings: readonly Finding[]
}

/** Paths that differ may lead to one file. */
export function sharedFiles(all: readonly DirectorySettings[]): Section[] {
  const users = new Map<string, DirectorySettings[]>()
  for (const one of all) {
    if (one.gal.mode === 'live') continue
    const file = realFile(one.snapshot.file)
    users.set(file, [...(users.get(file) ?? []), one])
  }
  return Array.from(users, ([file, own]): Section[] => {
    if (own.length < 2) return []
    const names = directoryNames(own.map(({ name }) => name))
    const text = `it is the file of ${names}; each list needs its own`
    return [{ about: `snapshot ${file}`, findings: [{ level: 'problem', text }] }]
  }).flat()
}

function realFile(file: string): string {
  try {
    return path.join(realpathSync(path.dirname(file)), path.basename(file))
  } catch {
    return file
  }
}

export async function snapshotSection(
  config: Haraka.Config,
  { gal, ldap, snapshot }: DirectorySettings,
  name: string,
): Promise<Section[]> {
  if (gal.mode === 'live') return []
  const about = `snapshot ${name}${snapshot.file}`
  const isReceived = gal.mode === 'received'
  try {
    const foreign = foreignList(config, snapshot.file)
    if (foreign) return [{ about, findings: [{ level: 'warning', text: foreign }] }]
    const { count, asOf } = await readListInForce(listDefinition(gal, ldap), snapshot)
    const size = `${counted(count, 'recipient')}, as of ${new Date(asOf).toISOString()}`
    const { level, why } = judgedByAge(Date.now() - asOf, snapshot, isReceived)
    return [{ about, findings: [{ level, text: size + why }] }]
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    const finding: Finding = isMissing(error)
      ? (folderProblem(path.dirname(snapshot.file)) ?? {
          level: 'note',
          text: isReceived
            ? 'there is none yet; Haraka takes it when it runs and the list has been published'
            : 'there is none yet; Haraka reads it when it starts, or run gal-relay sync',
        })
      : error instanceof UntrustedFolder
        ? { level: 'problem', text: `no list is read from there or kept there: ${reason}` }
        : {
            level: 'warning',
            text: `it is not used, and a new one will be ${isReceived ? 'received' : 'read'}: ${reason}${error instanceof OtherSettings ? OTHER_SETTINGS : ''}`,
          }
    return [{ about, findings: [finding] }]
  }
}

const OTHER_SETTINGS =
  '; has gal-relay sync been run with other settings, or has Haraka not loaded these yet?'

function judgedByAge(
  age: number,
  { usable_for, changes_every }: SnapshotSettings,
  isReceived: boolean,
): { level: Finding['level']; why: string } {
  if (age < -SKEW) {
    return {
      level: 'problem',
      why: ': dated in the future, so it is not used; a clock is or was wrong',
    }
  }
  if (age > usable_for) return { level: 'problem', why: ': too old to be used (usable_for)' }
  if (age > 2 * changes_every) {
    const why = isReceived
      ? ': not confirmed since; is Haraka running here, and gal-relay publish there?'
      : ': the directory has not confirmed it since; is Haraka running?'
    return { level: 'warning', why }
  }
  return { level: 'ok', why: '' }
}

/** What is known of a list where it comes from or is handed on: who published it when. */
export async function channelSection({ snapshot }: DirectorySettings): Promise<Section[]> {
  const { channel, key_file, trusted = ROOT_AND_US } = snapshot
  if (!channel) return key_file ? await keyProblem(key_file, trusted) : []
  const about = `list ${channel.list} in ${carrierText(channel)}`
  const from = channel.role === 'share' ? 'a server of this fleet' : 'gal-relay publish'
  try {
    const found = await publishedList(channel)
    if (!found) {
      const text = `no list ${channel.list} is there yet; ${from} puts it there`
      return [{ about, findings: [{ level: 'warning', text }] }]
    }
    const { number, published_by, published_at, changes_every } = found
    const at = new Date(published_at).toISOString()
    const text = `number ${number}, published by ${published_by} at ${at}`
    const findings: Finding[] = [{ level: 'ok', text }]
    if (changes_every > snapshot.changes_every) {
      const often = `it is confirmed every ${changes_every / 1000} s`
      const wanted = `changes_every is ${snapshot.changes_every / 1000} s here`
      const why = 'between two confirmations unknown recipients are deferred'
      findings.push({ level: 'warning', text: `${often}, and ${wanted}: ${why}` })
    }
    return [{ about, findings }]
  } catch (error) {
    const text = error instanceof Error ? error.message : String(error)
    return [{ about, findings: [{ level: 'problem', text }] }]
  }
}

/** Of a server that publishes. */
async function keyProblem(file: string, trusted: Trusted): Promise<Section[]> {
  try {
    await readListKeys(file, trusted)
    return []
  } catch (error) {
    const text = error instanceof Error ? error.message : String(error)
    return [{ about: '[snapshot] key_file', findings: [{ level: 'problem', text }] }]
  }
}

function folderProblem(folder: string): Finding | undefined {
  if (!existsSync(folder)) return { level: 'problem', text: `there is no folder ${folder}` }
  try {
    accessSync(folder, constants.W_OK)
    return undefined
  } catch {
    return {
      level: 'warning',
      text: `we cannot write to its folder; can the user that Haraka runs as?`,
    }
  }
}
