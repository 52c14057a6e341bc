// What makes the answers of the status page, with the metrics library. It is loaded together, and only
// where `[http] enabled` is set: it is as much code as all that answers mail.
export { explain, QuestionError } from '../advice/explain'
export { queueReport } from '../delivery/waiting'
export { registryOf } from '../report/metrics'
export { explanationPage } from './explanation-page'
export { findingsOf } from './findings'
export { healthOf } from './health'
export { overviewPage } from './overview-page'
export { remembered } from './remembered'
export { statusJson } from './status-json'
