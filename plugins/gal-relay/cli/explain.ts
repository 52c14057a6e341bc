// gal-relay explain: the reply to each recipient word for word, and the reasons for it.
import { Command } from 'commander'
import { grammarOf } from '../advice/envelope'
import { type Explanation, explain, parseListener, QuestionError } from '../advice/explain'
import { otherAnswers } from '../advice/plugin-order'
import { strangerTo, usualListener } from '../advice/stranger'
import { ownHost } from '../settings/own-host'
import { policyFor, type Settings } from '../settings/settings'
import { CannotRun, openConfigured, openLists, PLUGIN } from './install'
import { colour, columns, printJson, printLines } from './print'

interface Options {
  readonly config?: string
  readonly json?: boolean
  readonly client?: string
  readonly listener?: string
  readonly auth?: string
  readonly from?: string
}

const EXAMPLES = `
Several recipients are recipients of one transaction. Without --client it is a stranger, an address in no list;
without --listener the install's first listener on port 25. The exit code is 1 if one of them is refused.

Examples:
  Is mail from the internet to her accepted?
    gal-relay explain alice@example.com
  May this host send out through us?
    gal-relay explain friend@elsewhere.example --client 192.168.1.7 --listener 10.0.0.5:25
  And with an account, on the submission port?
    gal-relay explain friend@elsewhere.example --client 203.0.113.9 --listener 10.0.0.5:587 --auth carol
  Why was this one refused? Client, sender, recipient and listener are in the line of the log.
    gal-relay explain 'other%elsewhere.example@example.com' --client 203.0.113.9 \\
      --listener 10.0.0.5:25 --from spam@sender.example`

export function explainCommand(): Command {
  return new Command('explain')
    .description('show the reply to each recipient, word for word, and why')
    .argument('<recipients...>', 'as they come after RCPT TO:')
    .option('--client <ip>', 'the address of the client (default: a stranger)')
    .option('--listener <ip:port>', 'the address that it connects to (default: on port 25)')
    .option('--auth <account>', 'the account that it has authenticated as')
    .option('--from <address>', "as it comes after MAIL FROM:; '' is the null sender")
    .addHelpText('after', EXAMPLES)
    .action(run)
}

async function run(recipients: string[], _: unknown, command: Command): Promise<void> {
  const options = command.optsWithGlobals<Options>()
  const { config, settings } = await openConfigured(options.config)
  const question = { ...options, ...assumedFor(options, config, settings) }
  const lists = openLists(settings)
  try {
    const explanations = await explain(settings, lists, {
      recipients,
      client: question.client,
      listener: question.listener,
      account: options.auth,
      sender: options.from,
      grammar: grammarOf(config),
      plugins: otherAnswers(config, PLUGIN, settings),
      remembersNothing: true,
    })
    if (options.json) printJson({ ...asked(question), recipients: explanations })
    else printLines([...assumedText(question), ...explanations.flatMap(inWords)])
    if (explanations.some(({ code }) => code !== 250)) process.exitCode = 1
  } catch (error) {
    if (error instanceof QuestionError) throw new CannotRun(error.message)
    throw error
  } finally {
    await lists.close()
  }
}

interface Asked extends Options {
  readonly client: string
  readonly listener: string
  /** What the question left out. */
  readonly assumed: readonly ('client' | 'listener')[]
}

const asked = ({ client, listener, auth, from, assumed }: Asked) => {
  return { client, listener, auth, from, assumed }
}

function assumedFor(
  { client, listener }: Options,
  config: Haraka.Config,
  settings: Settings,
): Pick<Asked, 'client' | 'listener' | 'assumed'> {
  const at = listener ?? usualListener(ownHost(config), settings)
  const { address, port } = parseListener(at) ?? {}
  const policy = address && port ? policyFor(settings, address, port) : undefined
  return {
    client: client ?? strangerTo(policy?.restrictions),
    listener: at,
    assumed: [
      ...(client === undefined ? (['client'] as const) : []),
      ...(listener === undefined ? (['listener'] as const) : []),
    ],
  }
}

function assumedText({ client, listener, assumed }: Asked): string[] {
  if (assumed.length === 0) return []
  const isStranger = assumed.includes('client')
  const who = isStranger ? `a stranger, ${client},` : `the client ${client}`
  const options = assumed.map((name) => `--${name}`).join(' and ')
  const others = assumed.length > 1 ? 'name others' : 'names another'
  return [colour.dim(`as ${who} who connects to ${listener} (${options} ${others})`), '']
}

function inWords(explanation: Explanation): string[] {
  const { recipient, reply, code, rule, enforced, steps } = explanation
  const paint = code === 250 ? colour.green : code < 500 ? colour.yellow : colour.red
  const rows = steps.map(({ step, text, source }) => [
    `  ${step}`,
    `${text}${source && colour.dim(`  [${source}]`)}`,
  ])
  return [
    `RCPT TO:${recipient.startsWith('<') ? recipient : `<${recipient}>`}`,
    ...reply.split('\n').map((line) => paint(colour.bold(line))),
    ...(enforced || rule === 'not-enabled'
      ? []
      : [colour.yellow('(not enforced on this listener)')]),
    ...columns(rows),
    '',
  ]
}
