// gal-relay who-may-relay: exactly who may relay, per listener.
import { Command } from 'commander'
import { parseListener } from '../advice/explain'
import {
  type AddressBlock,
  type Clients,
  type RelayReport,
  whoMayRelay,
} from '../advice/who-may-relay'
import { counted } from '../report/words'
import { parseIp } from '../routing/networks'
import { type ListenerPolicy, policyFor, type Settings } from '../settings/settings'
import { CannotRun, openConfigured } from './install'
import { colour, columns, printJson, printLines } from './print'

interface Options {
  readonly config?: string
  readonly json?: boolean
  readonly listener?: string
}

const EXAMPLES = `
Worked out from the rules, not tried out: overlaps are merged, exceptions subtracted. In red: blocks that
hold more of the internet than any one network does (a /8 of IPv4, a /12 of IPv6), and local addresses
that are public. Exit code 1 when the internet may relay. With --json the numbers are exact text.

Examples:
  Everybody, on every listener that has settings of its own:
    gal-relay who-may-relay
  On the port that the internet sends to:
    gal-relay who-may-relay --listener 198.51.100.5:25
  How many addresses, for a script:
    gal-relay who-may-relay --json | jq '.listeners[].clients.ipv4'`

export function whoMayRelayCommand(): Command {
  return new Command('who-may-relay')
    .description('list exactly which clients, local addresses and accounts may relay')
    .option('--listener <ip:port>', 'only for this listener, or for these settings: *:587')
    .addHelpText('after', EXAMPLES)
    .action(run)
}

async function run(_: unknown, command: Command): Promise<void> {
  const options = command.optsWithGlobals<Options>()
  const { settings } = await openConfigured(options.config)
  const listeners = reports(settings, options.listener?.trim())
  if (options.json) printJson({ listeners })
  else printLines(listeners.flatMap(inWords))
  if (listeners.some(({ internet }) => internet)) process.exitCode = 1
}

function reports(settings: Settings, asked: string | undefined): RelayReport[] {
  if (asked !== undefined) {
    const named = settings.policies.get(asked)
    if (named) return [relayReportOf(named)]
    const listener = parseListener(asked)
    if (!listener) {
      throw new CannotRun(
        `'${asked}' is not an address and port such as 10.0.0.5:25 or [::1]:25, ` +
          'nor a listener with settings of its own',
      )
    }
    const { address, port } = listener
    const policy = policyFor(settings, address, port)
    return [{ ...whoMayRelay(policy, parseIp(address)), listener: asked }]
  }
  return [...settings.policies.values()].map(relayReportOf)
}

function relayReportOf(policy: ListenerPolicy): RelayReport {
  const address = policy.name.slice(0, policy.name.lastIndexOf(':'))
  return whoMayRelay(policy, parseIp(address))
}

function inWords(report: RelayReport): string[] {
  const { listener, enabled, enforced, rule, clients, local_addresses, accounts, never } = report
  const title = colour.bold(
    `listener ${listener}${listener === '*:*' ? ', where no other section applies' : ''}`,
  )
  if (!enabled)
    return [title, '  the plugin takes no part here; other plugins decide who may relay', '']
  if (rule === 'reroute-off') return [title, '  nobody may relay (reroute = false)', '']
  const observed = colour.yellow('  only observed (enforce = false); if enforced:')
  const anyClient = never.blocks.length > 0 ? 'any client that is not in never[]' : 'any client'
  const lines = enforced ? [title] : [title, observed]
  if (rule === 'open') lines.push(colour.red(`  ${anyClient}: open = true`))
  if (rule === 'local-addresses') {
    const paint = report.internet ? colour.red : colour.yellow
    lines.push(paint(`  ${anyClient}: the address is in local_addresses[]${natText(report)}`))
  }
  lines.push(...clientsInWords('clients', clients, rule !== 'local-addresses' || report.internet))
  for (const { network, internet } of local_addresses) {
    const text = `  ${anyClient} that connects to ${network}`
    lines.push(internet ? colour.red(`${text}, a public address`) : colour.yellow(`${text}${NAT}`))
  }
  if (accounts) {
    const except = accounts.never.length > 0 ? `, except ${accounts.never.join(', ')}` : ''
    lines.push(`  ${anyClient} with an account${except}`)
  }
  if (never.blocks.length > 0) lines.push(...clientsInWords('never', never, false))
  return [...lines, '']
}

const NAT = ', a private address: the internet too, if NAT or a proxy passes it on'
const natText = ({ internet }: RelayReport) => (internet ? '' : NAT)

function clientsInWords(title: string, { blocks, ipv4, ipv6 }: Clients, red: boolean): string[] {
  if (blocks.length === 0) return [`  ${title}: none`]
  const sizes = [
    ...(ipv4 > 0n ? [counted(ipv4, 'IPv4 address', 'IPv4 addresses')] : []),
    ...(ipv6 > 0n ? [counted(ipv6, 'IPv6 address', 'IPv6 addresses')] : []),
  ]
  const rows = columns(blocks.map((block) => [`    ${blockText(block)}`, sizeText(block)]))
  return [
    `  ${title}: ${sizes.join(' and ')}`,
    ...rows.map((row, i) =>
      red && blocks[i]?.internet ? colour.red(`${row}  the internet`) : row,
    ),
  ]
}

function blockText({ first, last, network, addresses }: AddressBlock): string {
  if (addresses === 1n) return first
  return network ?? `${first} - ${last}`
}

const sizeText = ({ addresses }: AddressBlock) => counted(addresses, 'address', 'addresses')
