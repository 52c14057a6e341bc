// What gal-relay check finds about the lists in memory: their files, and whether these may be used.
import path from 'node:path'
import { foreignList } from '../advice/haraka-user'
import { folderProblem, judgedByAge, type Section } from '../advice/list-files'
import { readListKeys } from '../fleet/list-keys'
import type { Finding } from '../gal/directory/finding'
import { listDefinition } from '../gal/directory/list-definition'
import { OtherSettings } from '../gal/snapshot/file-format'
import { readListInForce } from '../gal/snapshot/in-force'
import { publishedList } from '../gal/snapshot/receiver'
import { counted } from '../report/words'
import type { DirectorySettings } from '../settings/directories'
import { carrierText } from '../settings/list-channel'
import { ROOT_AND_US, type Trusted, UntrustedFolder } from '../trusted-file'
import { isMissing } from './install'

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

/** What is known of a list at its source or destination: who published it, and when. */
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

/** Reports what is wrong with the key file of a server that publishes. */
async function keyProblem(file: string, trusted: Trusted): Promise<Section[]> {
  try {
    await readListKeys(file, trusted)
    return []
  } catch (error) {
    const text = error instanceof Error ? error.message : String(error)
    return [{ about: '[snapshot] key_file', findings: [{ level: 'problem', text }] }]
  }
}
