// gal-relay routes: the routing table in effect, with the domains of config/host_list and [hosts].
import { Command } from 'commander'
import { KINDS, pathsOf, type RowKind } from '../routing/kinds'
import { addressText } from '../routing/recipient'
import { findRow, hopsOf, type RouteTo, type Row } from '../routing/routes'
import { loadIni } from '../settings/load'
import type { ListenerPolicy, Settings } from '../settings/settings'
import { openConfigured } from './install'
import { colour, columns, printJson, printLines } from './print'

interface Options {
  readonly config?: string
  readonly json?: boolean
}

const EXAMPLES = `
A recipient takes the row for its address, else the one for its domain alone, else the one with the longest
suffix; whoever takes none is foreign. gal-relay explain says which one it is.

Examples:
    gal-relay routes
  Where does our own mail go, for a script?
    gal-relay routes --json | jq '.rows[] | select(.kind == "inbound") | {sent_to, next_hops}'`

export function routesCommand(): Command {
  return new Command('routes')
    .description('the routing table: rows, config/host_list and [hosts]')
    .addHelpText('after', EXAMPLES)
    .action(run)
}

async function run(_: unknown, command: Command): Promise<void> {
  const options = command.optsWithGlobals<Options>()
  const { config, settings } = await openConfigured(options.config)
  const { lineOf } = loadIni(config)
  const rows = rowsOf(settings).map((row) => ({ ...json(row), line: lineOf('routes', row.text) }))
  const hosts = hostsOf(settings)
  const host_list = hostList(settings)
  if (options.json) {
    printJson({ rows, host_list, hosts })
    return
  }
  printLines([
    colour.bold('rows'),
    ...listed(rows.map((row) => [row.sent_to, rightSide(row), row.covers, row.meaning])),
    '',
    colour.bold('inbound by config/host_list'),
    ...listed(host_list.map((domain) => [domain])),
    ...(hosts.length > 0
      ? ['', colour.bold('[hosts]'), ...listed(hosts.map((one) => [one.value, hostText(one)]))]
      : []),
  ])
}

const listed = (rows: readonly (readonly string[])[]) =>
  rows.length > 0 ? columns(rows).map((row) => `  ${row.trimEnd()}`) : ['  none']

const first = ({ policies }: Settings): ListenerPolicy | undefined => [...policies.values()][0]

const rowsOf = (settings: Settings) => first(settings)?.routing.routes.rows ?? []

/** Those that are used on any listener, have no row of their own, and are inbound. */
function hostList(settings: Settings): string[] {
  const all = [...settings.policies.values()].flatMap(({ routing }) => [...routing.hostList])
  const { routes } = first(settings)?.routing ?? {}
  return [...new Set(all)].filter((domain) => {
    const row = routes && findRow(routes, domain)
    return !row || (row.routeTo.kind === 'inbound' && row.sentTo.match === 'suffix')
  })
}

interface RowJson {
  readonly sent_to: string
  readonly kind: RowKind
  readonly reroute_to: string | undefined
  readonly next_hops: readonly string[]
  readonly covers: string
  readonly meaning: string
}

function json({ text, sentTo, routeTo }: Row): RowJson {
  const { kind } = routeTo
  return {
    sent_to: text,
    kind,
    reroute_to:
      routeTo.kind === 'reroute'
        ? routeTo.mailbox
          ? addressText(routeTo.mailbox)
          : routeTo.domain
        : undefined,
    next_hops: hopsOf(routeTo).map((hop) => hop.text),
    covers: COVERS[sentTo.match],
    meaning: meaningOf(routeTo),
  }
}

const COVERS = {
  exact: 'the domain alone',
  suffix: 'with its subdomains',
  address: 'one address',
} as const

const LOOK_UP = {
  required: 'ours if in the directory, else refused',
  first: 'ours if in the directory, else passed on',
  'any-domain': 'passed on for clients that may relay',
  never: 'accepted without a look-up',
} as const

function meaningOf(routeTo: RouteTo): string {
  const { kind } = routeTo
  const hops = hopsOf(routeTo)
  if (kind === 'refuse') return 'refused, unless the client has authenticated or may relay'
  if (kind === 'reroute') {
    return `${routeTo.mailbox ? 'that address' : 'the same name there'}, by the row of that domain`
  }
  const { lookUp } = KINDS[kind]
  const [path] = pathsOf(kind, hops)
  const isMx = path === 'outbound' && hops.length === 0
  const where = path === 'queue' ? 'to the queue plugins' : isMx ? 'to better MX hosts' : ''
  return [LOOK_UP[lookUp], where].filter(Boolean).join('; ')
}

function rightSide({ kind, reroute_to, next_hops }: RowJson): string {
  return [kind, reroute_to ?? '', ...next_hops].filter(Boolean).join(' ')
}

function hostsOf(settings: Settings) {
  const hosts = [...(first(settings)?.routing.mailboxHosts.values() ?? [])]
  return hosts.map(({ text, hops }) => ({ value: text, next_hops: hops.map((hop) => hop.text) }))
}

const hostText = ({ next_hops }: { readonly next_hops: readonly string[] }) =>
  next_hops.join(' ') || 'local'
