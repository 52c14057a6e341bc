// What gal-relay check would find, as far as this server can tell without asking another host.
import { fileFindings, type OpenListener, openListeners, pluginFindings } from '../advice/findings'
import { sharedFiles, unwritableHere } from '../advice/list-files'
import { doubts } from '../advice/startup'
import { unreachable } from '../advice/unreachable'
import type { Finding } from '../gal/directory/finding'
import { queueFolder } from '../settings/haraka-files'
import { SettingsError } from '../settings/problem'
import type { Settings } from '../settings/settings'
import { remembered } from './remembered'

export interface Findings {
  /** Sentences about what does harm: mail is lost or goes where it must not. */
  readonly bad: readonly string[]
  /** Sentences about what else needs attention. */
  readonly doubtful: readonly string[]
}

/** Milliseconds before files are checked again. */
const FRESH_FOR = 10_000

interface Source {
  readonly config: Haraka.Config
  /** The name of this plugin. */
  readonly plugin: string
  ignored(): readonly string[]
}

export function findingsOf({ config, plugin, ignored }: Source): (settings: Settings) => Findings {
  const inSettings = remembered(Number.POSITIVE_INFINITY, (settings: Settings) => ({
    open: openListeners(settings),
    doubtful: [...doubts(settings), ...unreachable(settings)],
  }))
  return remembered(FRESH_FOR, (settings) => {
    const { open, doubtful } = inSettings(settings)
    const unwritable = unwritableHere(queueFolder(config), settings.directories.all)
    const places = pluginPlaces(config, plugin, settings)
    const texts = (all: readonly OpenListener[]) => all.map(({ text }) => text)
    return {
      bad: [
        ...texts(open.filter(({ isOpenNow }) => isOpenNow)),
        ...textsAt('problem', places),
        ...unwritable.queue,
      ],
      doubtful: [
        ...texts(open.filter(({ isOpenNow }) => !isOpenNow)),
        ...textsAt('warning', places),
        ...unwritable.lists,
        ...sharedFiles(settings.directories.all).flatMap(({ about, findings }) =>
          textsAt('problem', findings).map((text) => `${about}: ${text}`),
        ),
        ...ignored(),
        ...doubtful,
        ...textsAt('warning', fileFindings(config, settings)),
      ],
    }
  })
}

function pluginPlaces(config: Haraka.Config, plugin: string, settings: Settings): Finding[] {
  try {
    return pluginFindings(config, plugin, settings)
  } catch (error) {
    // If another plugin's file cannot be read, that is no reason not to show the page.
    if (!(error instanceof SettingsError)) throw error
    return error.lines.map((text) => ({ level: 'warning', text }))
  }
}

const textsAt = (level: Finding['level'], findings: readonly Finding[]) =>
  findings.filter((one) => one.level === level).map(({ text }) => text)
