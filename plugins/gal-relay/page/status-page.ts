// What is served below /gal-relay/ on Haraka's own HTTP server: the status page and its data, explanations
// of answers, metrics, and a health check for load balancers. Only clients in `[http] allow[]` are served.
// The pages show mail addresses and so must be requested by a name of this server: otherwise a page
// elsewhere could read them through a DNS name of its own that points here.
import { readFileSync } from 'node:fs'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { isIP } from 'node:net'
import { hostname } from 'node:os'
import path from 'node:path'
import type { EnvelopeGrammar } from '../advice/envelope'
import type { DirectoryLists } from '../gal/directories'
import { type Guarded, guard } from '../guard'
import type { Reports } from '../report/processes'
import { parseIp } from '../routing/networks'
import { queueFolder } from '../settings/haraka-files'
import { ownHost } from '../settings/own-host'
import { canonicalAddress, type Settings } from '../settings/settings'
import type { Html } from './html'
import type { Overview, Versions } from './overview-page'

export const PAGE_PATH = '/gal-relay'

const pages = () => require('./pages') as typeof import('./pages')

/** Where the pages get their data from. */
export interface StatusSource {
  /** This server's name, from Haraka's config/me. */
  readonly name: string
  readonly config: Haraka.Config
  /** The name of this plugin in config/plugins. */
  readonly plugin: string
  /** Haraka's version. */
  readonly version: string
  readonly grammar: EnvelopeGrammar
  readonly reports: Reports
  settings(): Settings
  /** Sentences about lines that have no effect. */
  ignored(): readonly string[]
  lists(): Pick<DirectoryLists, 'lookupIn' | 'report'>
  /** Sentences about plugins that may make Haraka answer differently. */
  plugins(): readonly string[]
}

interface Answer {
  readonly status: number
  readonly type: string
  readonly body: string
  readonly headers?: Readonly<Record<string, string>>
}

/** Mounted at {@link PAGE_PATH}: `url` is the path after it; express keeps the whole URL. */
type Request = IncomingMessage & { readonly originalUrl?: string }

/** Adds functions whose results are remembered across requests. */
interface Served extends StatusSource {
  readonly findings: (settings: Settings) => Overview['findings']
  readonly queue: (settings: Settings) => Promise<Overview['queue']>
}

/** Milliseconds before the outbound queue is read again. */
const QUEUE_FRESH_FOR = 15_000
/** The most messages in the queue to read. */
const QUEUE_MOST = 2000

function servedFrom(source: StatusSource): Served {
  const { findingsOf, remembered, queueReport } = pages()
  const folder = queueFolder(source.config)
  return {
    ...source,
    findings: findingsOf(source),
    queue: remembered(QUEUE_FRESH_FOR, async (settings) => {
      try {
        const { listeners } = ownHost(source.config)
        return await queueReport(folder, settings, listeners, QUEUE_MOST)
      } catch (error) {
        return `The outbound queue cannot be read: ${(error as Error).message}`
      }
    }),
  }
}

export function statusPage(
  source: StatusSource,
): Guarded<[request: Request, response: ServerResponse, next: () => void]> {
  // Load the code while Haraka may still read all files: it may change its user later.
  let served = source.settings().http.enabled ? servedFrom(source) : undefined
  const page = async (request: Request, response: ServerResponse, next: () => void) => {
    const isEnabled = source.settings().http.enabled
    if (isEnabled) served ??= servedFrom(source)
    const answer = isEnabled && served && (await answerTo(request, served))
    if (answer) send(request, response, answer)
    else next()
  }
  return guard('the status page', page, (_error, request, response) =>
    send(request, response, plain(500, 'The page could not be generated; the log says why.')),
  )
}

async function answerTo(request: Request, source: Served): Promise<Answer | undefined> {
  const { method, socket, headers, url = '/', originalUrl = '/' } = request
  const client = socket.remoteAddress
  if (!source.settings().http.allow.has(parseIp(client))) {
    const shown = canonicalAddress(client ?? '') ?? client
    return plain(403, `${shown} is not in allow[] of [http] in config/gal_relay.ini.`)
  }
  if (method !== 'GET' && method !== 'HEAD') return plain(405, 'Only GET and HEAD are answered.')
  // Not parsed as a URL: a path that begins with // would name a host.
  const [pathname, ...query] = url.split('?')
  const searchParams = new URLSearchParams(query.join('?'))
  if (pathname === '/metrics') return metrics(source)
  if (pathname === '/health') return health(source)
  if (!isOwnName(headers.host, source.name)) {
    return plain(403, 'Open this page by an IP address, as localhost, or by the name in config/me.')
  }
  switch (pathname) {
    case '/':
      // Links on the page are relative and need the last slash.
      return originalUrl.split('?')[0] === PAGE_PATH
        ? { ...plain(302, ''), headers: { location: `${PAGE_PATH}/` } }
        : overview(source, searchParams)
    case '/status.json':
      return status(source, searchParams)
    case '/explain':
      return explanation(source, searchParams)
    case '/page.css':
      return { status: 200, type: 'text/css; charset=utf-8', body: CSS }
    case '/sections.css':
      return { status: 200, type: 'text/css; charset=utf-8', body: SECTIONS_CSS }
    case '/page.js':
      return { status: 200, type: 'text/javascript; charset=utf-8', body: SCRIPT }
    default:
      return undefined
  }
}

async function metrics({ reports }: StatusSource): Promise<Answer> {
  const registry = pages().registryOf(await reports.collect(), Date.now())
  return { status: 200, type: registry.contentType, body: await registry.metrics() }
}

/** As this process sees it: asking the others every second would cost more than it is worth. */
const ownHealth = (source: StatusSource) =>
  pages().healthOf(source.settings(), source.lists().report(), Date.now())

function health(source: StatusSource): Answer {
  const { isWell, problems } = ownHealth(source)
  return plain(isWell ? 200 : 503, [isWell ? 'ok' : 'not well', ...problems].join('\n'))
}

async function overview(source: Served, asked: URLSearchParams): Promise<Answer> {
  return page(pages().overviewPage(await shownOf(source, asked)))
}

async function status(source: Served, asked: URLSearchParams): Promise<Answer> {
  const body = pages().statusJson(await shownOf(source, asked), ownHealth(source))
  return { status: 200, type: 'application/json; charset=utf-8', body: `${body}\n` }
}

async function shownOf(source: Served, asked: URLSearchParams): Promise<Overview> {
  const settings = source.settings()
  const [report, queue] = await Promise.all([source.reports.collect(), source.queue(settings)])
  const versions: Versions = {
    plugin: OWN_VERSION,
    haraka: source.version,
    node: process.versions.node,
  }
  return {
    ...{ name: source.name, versions, settings, report, queue, asked },
    findings: source.findings(settings),
    now: Date.now(),
  }
}

async function explanation(source: StatusSource, asked: URLSearchParams): Promise<Answer> {
  const { name, grammar } = source
  const { explain, explanationPage, QuestionError } = pages()
  const question = {
    recipient: asked.get('recipient') ?? '',
    client: asked.get('client') ?? '',
    listener: asked.get('listener') ?? '',
    account: asked.get('account') ?? '',
    sender: asked.get('sender') ?? '',
  }
  try {
    const [explained] = await explain(source.settings(), source.lists(), {
      ...question,
      recipients: [question.recipient],
      account: question.account || undefined,
      sender: question.sender || undefined,
      grammar,
      plugins: source.plugins(),
    })
    return page(explanationPage(name, question, explained))
  } catch (error) {
    if (!(error instanceof QuestionError)) throw error
    return page(explanationPage(name, question, error.message))
  }
}

function isOwnName(host: string | undefined, name: string): boolean {
  const [, bracketed, bare] = /^(?:\[(.+)\]|([^:]*))(?::\d+)?$/.exec(host ?? '') ?? []
  const asked = (bracketed ?? bare ?? '').toLowerCase()
  const own = ['localhost', name, hostname()].map((one) => one.toLowerCase())
  return isIP(asked) !== 0 || own.includes(asked)
}

const page = ({ text }: Html): Answer => ({
  status: 200,
  type: 'text/html; charset=utf-8',
  body: text,
})
const plain = (status: number, text: string): Answer => ({
  status,
  type: 'text/plain; charset=utf-8',
  body: `${text}\n`,
})

/** Even if a stranger's text became markup, it could not load or run anything. */
const POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "connect-src 'self'",
  'img-src data:',
  "form-action 'self'",
  "base-uri 'none'",
  "frame-ancestors 'none'",
].join('; ')

function send(request: Request, response: ServerResponse, answer: Answer): void {
  const { status, type, body, headers } = answer
  response.writeHead(status, {
    'content-type': type,
    'content-length': Buffer.byteLength(body),
    'content-security-policy': POLICY,
    'cache-control': 'no-store',
    'cross-origin-resource-policy': 'same-origin',
    'referrer-policy': 'no-referrer',
    'x-content-type-options': 'nosniff',
    ...headers,
  })
  response.end(request.method === 'HEAD' ? undefined : body)
}

const read = (file: string) => readFileSync(path.join(__dirname, file), 'utf8')
const CSS = read('page.css')
const SECTIONS_CSS = read('sections.css')
const SCRIPT = read('page.js')
/** The plugin's version; package.json is above dist/. */
const OWN_VERSION = String(JSON.parse(read('../../../../package.json')).version)
