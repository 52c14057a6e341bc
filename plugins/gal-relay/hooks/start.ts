// Haraka's start: what is said in the log, who asks the directory, the status page.
import { isFirst, isHooked, registerFirst } from '../haraka/internals'
import { grammarOf } from '../report/envelope'
import { type ProcessReport, processReport } from '../report/install'
import { otherAnswers } from '../report/plugin-order'
import { answerForWorkers, onlyProcess, worker } from '../report/processes'
import { PAGE_PATH, statusPage } from '../report/status/status-page'
import { ownName } from '../settings/haraka-files'
import { announce, state } from './state'

export function start(this: Haraka.Plugin, next: Haraka.Next, server: Haraka.Server): void {
  state.speaks = server.cluster === undefined || server.cluster.isMaster
  state.answers = server.cluster === undefined || !server.cluster.isMaster
  if (isHooked(this, 'deny')) registerFirst(this, 'deny', 'keep_refusal')
  // Any plugin that is asked before us may put other recipients in the place of one.
  if (!isFirst(this, 'rcpt', 'check_recipient')) registerFirst(this, 'rcpt', 'begin_recipient')
  if (state.speaks) announce(this)
  if (state.answers) state.lists.start()
  if (!server.cluster) state.reports = onlyProcess(reportOfThis)
  else if (state.answers) state.reports = worker(reportOfThis)
  else answerForWorkers()
  next()
}

// Before Haraka adds its own pages and the answer for those that do not exist.
export function serve_status(this: Haraka.Plugin, next: Haraka.Next, server: Haraka.Server): void {
  const { reports } = state
  if (reports && server.http?.app) {
    const page = statusPage({
      name: ownName(this.config),
      grammar: grammarOf(this.config),
      settings: () => state.settings,
      lists: () => state.lists,
      plugins: () => otherAnswers(this.config, this.name, state.settings),
      reports,
    })
    server.http.app.use(PAGE_PATH, page)
  }
  next()
}

function reportOfThis(): ProcessReport {
  const { counts, lists, retired, startedAt, reloadFailedAt } = state
  return processReport(counts.report(), lists.report(), retired, { startedAt, reloadFailedAt })
}
