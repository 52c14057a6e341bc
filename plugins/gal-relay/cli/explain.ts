// gal-relay explain: the reply to each recipient word for word, and how it came about.
import { Command } from 'commander'
import { grammarOf } from '../advice/envelope'
import { type Explanation, explain, QuestionError } from '../advice/explain'
import { otherAnswers } from '../advice/plugin-order'
import { CannotRun, openConfigured, openLists, PLUGIN } from './install'
import { colour, columns, printJson, printLines } from './print'

interface Options {
  readonly config?: string
  readonly json?: boolean
  readonly client: string
  readonly listener: string
  readonly auth?: string
  readonly from?: string
}

const EXAMPLES = `
Several recipients are recipients of one transaction. Exit code 1 when one of them is refused.

Examples:
  May this host send out through us?
    gal-relay explain friend@elsewhere.example --client 192.168.1.7 --listener 10.0.0.5:25
  And with an account, on the submission port?
    gal-relay explain friend@elsewhere.example --client 203.0.113.9 --listener 10.0.0.5:587 --auth carol
  Why was this one refused? Client, sender, recipient and listener are in the line of the log.
    gal-relay explain 'other%elsewhere.example@example.com' --client 203.0.113.9 \\
      --listener 10.0.0.5:25 --from spam@sender.example`

export function explainCommand(): Command {
  return new Command('explain')
    .description('what would be answered to these recipients, word for word, and why')
    .argument('<recipients...>', 'as they stand behind RCPT TO:')
    .requiredOption('--client <ip>', 'the address of the client')
    .requiredOption('--listener <ip:port>', 'the address that it connects to')
    .option('--auth <account>', 'the account it has authenticated as')
    .option('--from <address>', "as it stands behind MAIL FROM:; '' is the null sender")
    .addHelpText('after', EXAMPLES)
    .action(run)
}

async function run(recipients: string[], _: unknown, command: Command): Promise<void> {
  const options = command.optsWithGlobals<Options>()
  const { config, settings } = await openConfigured(options.config)
  const lists = openLists(settings)
  try {
    const explanations = await explain(settings, lists, {
      recipients,
      client: options.client,
      listener: options.listener,
      account: options.auth,
      sender: options.from,
      grammar: grammarOf(config),
      plugins: otherAnswers(config, PLUGIN, settings),
      remembersNothing: true,
    })
    if (options.json) printJson({ ...asked(options), recipients: explanations })
    else printLines(explanations.flatMap(inWords))
    if (explanations.some(({ code }) => code !== 250)) process.exitCode = 1
  } catch (error) {
    if (error instanceof QuestionError) throw new CannotRun(error.message)
    throw error
  } finally {
    await lists.close()
  }
}

const asked = ({ client, listener, auth, from }: Options) => ({ client, listener, auth, from })

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
