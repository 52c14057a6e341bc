// The code that generates the status page and the metrics, with the metrics library. It is loaded
// as a whole, and only if `[http] enabled` is set: it is as large as all the code that answers
// mail.
export { explain, QuestionError } from '../advice/explain'
export { queueReport } from '../delivery/waiting'
export { registryOf } from '../report/metrics'
export { explanationPage } from './explanation-page'
export { findingsOf } from './findings'
export { healthOf } from './health'
export { overviewPage } from './overview-page'
export { remembered } from './remembered'
export { statusJson } from './status-json'
