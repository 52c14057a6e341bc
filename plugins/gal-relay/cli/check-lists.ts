// What gal-relay check finds of the lists in memory: their files, and whether these may be used.
import path from 'node:path'
import { foreignList } from '../advice/haraka-user'
import { folderProblem, judgedByAge, type Section } from '../advice/list-files'
import { listDefinition } from '../gal/directory/list-definition'
import type { Finding } from '../gal/directory/probe'
import { OtherSettings } from '../gal/snapshot/file-format'
import { readListInForce } from '../gal/snapshot/in-force'
import { counted } from '../report/words'
import type { DirectorySettings } from '../settings/directories'
import { UntrustedFolder } from '../trusted-file'
import { isMissing } from './install'

export async function snapshotSection(
  config: Haraka.Config,
  { gal, ldap, snapshot }: DirectorySettings,
  name: string,
): Promise<Section[]> {
  if (gal.mode !== 'snapshot') return []
  const about = `snapshot ${name}${snapshot.file}`
  try {
    const foreign = foreignList(config, snapshot.file)
    if (foreign) return [{ about, findings: [{ level: 'warning', text: foreign }] }]
    const { count, asOf } = await readListInForce(listDefinition(gal, ldap), snapshot)
    const size = `${counted(count, 'recipient')}, as of ${new Date(asOf).toISOString()}`
    const { level, why } = judgedByAge(Date.now() - asOf, snapshot)
    return [{ about, findings: [{ level, text: size + why }] }]
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    const finding: Finding = isMissing(error)
      ? (folderProblem(path.dirname(snapshot.file)) ?? {
          level: 'note',
          text: 'there is none yet; Haraka reads it when it starts, or run gal-relay sync',
        })
      : error instanceof UntrustedFolder
        ? { level: 'problem', text: `no list is read from there or kept there: ${reason}` }
        : {
            level: 'warning',
            text: `it is not used, and a new one will be read: ${reason}${error instanceof OtherSettings ? OTHER_SETTINGS : ''}`,
          }
    return [{ about, findings: [finding] }]
  }
}

const OTHER_SETTINGS =
  '; has gal-relay sync been run with other settings, or has Haraka not loaded these yet?'
