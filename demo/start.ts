// `npm start`: the address lists of two companies, a real Haraka with this plugin and two listeners
// on loopback, and things to try. No accepted mail leaves the machine, and nothing is left behind.

import { type Haraka, startHaraka } from '../test/support/haraka'
import { isFree } from '../test/support/ports'
import { findProgram } from '../test/support/programs'
import { type Directory, samplePeople, startDirectory } from './directory'

const MX_PORT = 2525
const SUBMISSION_PORT = 2587
/** Her entry's `targetAddress` says where her mail goes. */
const CLOUD = 'dora@example.com'
const ACCOUNT = { user: 'carol', password: 'demo' }

/** The lines of Haraka's log that are shown. */
const OF_INTEREST = /\[(gal-relay|test-queue)\]/

/** Something that the user can fix, described in one sentence. */
class Trouble extends Error {}

interface Attempt {
  readonly what: string
  readonly port: number
  readonly from: string
  readonly to: string
  readonly authenticated?: true
  readonly reply: string
}

function attempts(mx: number, submission: number): Attempt[] {
  const outsider = 'friend@elsewhere.example'
  return [
    {
      what: 'From outside to a colleague, by one of her other addresses',
      port: mx,
      from: outsider,
      to: 'a.archer@example.com',
      reply: '250 recipient <a.archer@example.com> OK',
    },
    {
      what: 'To nobody in the address list',
      port: mx,
      from: outsider,
      to: 'nobody@example.com',
      reply: '550 5.1.1 Recipient unknown',
    },
    {
      what: 'Through us to another company, which is even in the address list',
      port: mx,
      from: 'alice@example.com',
      to: 'petra@partner.example',
      reply: '550 5.7.1 Relaying is prohibited',
    },
    {
      what: 'From outside to a list that is for colleagues only',
      port: mx,
      from: outsider,
      to: 'all-staff@example.com',
      reply: '550 5.7.1 This recipient takes mail from authenticated senders only',
    },
    {
      what: 'To a colleague whose mailbox is in the cloud',
      port: mx,
      from: outsider,
      to: CLOUD,
      reply: `250 recipient <${CLOUD}> OK`,
    },
    {
      what: 'To somebody at the second company, which has a directory of its own',
      port: mx,
      from: outsider,
      to: 'b.beck@beta.example',
      reply: '250 recipient <b.beck@beta.example> OK',
    },
    {
      what: 'To a colleague of the first company as if she were at the second',
      port: mx,
      from: outsider,
      to: 'alice@beta.example',
      reply: '550 5.1.1 Recipient unknown',
    },
    {
      what: 'To that company which is not ours, from a colleague who has logged in',
      port: submission,
      from: 'carol@example.com',
      to: 'petra@partner.example',
      authenticated: true,
      reply: '250 recipient <petra@partner.example> OK',
    },
  ]
}

interface Directories {
  readonly first: Directory
  readonly beta: Directory
}

function galRelayIni({ first, beta }: Directories, submission: number): string {
  return `[ldap]
url[] = ${first.url}
base = ${first.base}

[gal]
routing_attribute = targetAddress

[directory beta]
domains[] = beta.example
url[] = ${beta.url}
base = ${beta.base}
attributes[] = mail

[routes]
example.com = inbound
beta.example = inbound

[restrictions]
hosts[] = 192.0.2.0/24

[listener *:${submission}]
authenticated = true
`
}

async function main(): Promise<void> {
  const [mx, submission] = readPorts(process.argv.slice(2))
  const signalled = new Promise<void>((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
      process.on(signal, () => resolve())
    }
  })
  await requireFree(mx)
  await requireFree(submission)

  console.log('Starting Haraka …')
  const directories = {
    first: await startDirectory(samplePeople()),
    beta: await startDirectory(samplePeople('beta')),
  }
  let haraka: Haraka | undefined
  try {
    const ini = galRelayIni(directories, submission)
    const starting = start(ini, [mx, submission])
    starting.catch(() => {})
    haraka = await Promise.race([starting, signalled.then(() => undefined)])
    // A Ctrl-C during the start reaches Haraka too.
    if (!haraka) haraka = await starting.catch(() => undefined)
    else {
      console.log(whatRuns(haraka, directories, ini))
      console.log(whatToTry(haraka, attempts(mx, submission)))
      console.log(haraka.logLines(OF_INTEREST).join('\n'))
      await Promise.race([signalled, haraka.exited.then(harakaEnded)])
    }
  } finally {
    await haraka?.stop('SIGTERM')
    await directories.first.stop()
    await directories.beta.stop()
  }
}

function readPorts([mx = MX_PORT, submission = SUBMISSION_PORT, ...rest]: (string | number)[]): [
  number,
  number,
] {
  const ports: [number, number] = [Number(mx), Number(submission)]
  const usable = ports.every((port) => Number.isInteger(port) && port > 0 && port < 65536)
  if (rest.length > 0 || !usable || ports[0] === ports[1]) {
    throw new Trouble('Usage: npm start, or npm start -- <MX port> <submission port>')
  }
  return ports
}

async function requireFree(port: number): Promise<void> {
  const free = await isFree(port).catch((error: Error) => {
    throw new Trouble(`Port ${port} cannot be used here: ${error.message}.`)
  })
  if (free) return
  throw new Trouble(
    `Port ${port} is in use: end what listens there, or choose others with npm start -- 3525 3587`,
  )
}

function start(ini: string, ports: [number, number]): Promise<Haraka> {
  try {
    require.resolve('haraka/package.json')
  } catch {
    throw new Trouble('Haraka is not installed here: run npm ci first.')
  }
  let started = false
  const starting = startHaraka({
    ini,
    ports,
    proxy: false,
    auth: { [ACCOUNT.user]: ACCOUNT.password },
    onLine: (line) => {
      if (started && OF_INTEREST.test(line)) console.log(line)
    },
  })
  return starting.then(
    (haraka) => {
      started = true
      return haraka
    },
    (error: Error) => {
      const reason = /\[(?:CRIT|ERROR)\] (.*)/.exec(error.message)?.[1] ?? error.message
      throw new Trouble(`Haraka did not start: ${reason}`)
    },
  )
}

function harakaEnded(): never {
  throw new Trouble('Haraka ended by itself; nothing runs any more.')
}

function whatRuns(haraka: Haraka, { first, beta }: Directories, ini: string): string {
  const [mx, submission] = haraka.ports
  return `
The address lists  ${first.url}/${first.base} (demo/people.ldif)
                   ${beta.url}/${beta.base} (demo/beta.ldif)
Mail from outside  127.0.0.1:${mx}
Mail of colleagues 127.0.0.1:${submission}, who log in as ${ACCOUNT.user} with the password ${ACCOUNT.password}
Haraka's folder    ${haraka.dir}
                   taken mail in delivered/, mail for elsewhere waits in queue/; all removed at the end

config/gal_relay.ini
${ini.trim().replace(/^/gm, '    ')}
`
}

function whatToTry({ dir, ports }: Haraka, all: readonly Attempt[]): string {
  const withSwaks = findProgram('swaks') !== undefined
  const missing = withSwaks || findProgram('nc') ? '' : ' (install swaks or nc first)'
  const command = withSwaks ? swaks : nc
  const text = all.map(
    (attempt) => `${attempt.what}\n    ${command(attempt)}\n    → ${attempt.reply}\n`,
  )
  const explain = `node dist/plugins/gal-relay/cli/main.js explain ${CLOUD} --config ${dir} --client 203.0.113.9 --listener 127.0.0.1:${ports[0]}`
  return `To try in another terminal${missing}, with the reply to the recipient:

${text.join('\n')}
Why, from which directory, and where the mail goes:
    ${explain}

Ctrl-C ends everything. The log follows.
`
}

function swaks({ port, from, to, authenticated }: Attempt): string {
  const auth = authenticated
    ? ` --auth PLAIN --auth-user ${ACCOUNT.user} --auth-password ${ACCOUNT.password}`
    : ''
  return `swaks --server 127.0.0.1:${port}${auth} --from ${from} --to ${to} --quit-after RCPT`
}

/** nc must not close its side before the replies have arrived, hence the sleep. */
function nc({ port, from, to, authenticated }: Attempt): string {
  const token = Buffer.from(`\0${ACCOUNT.user}\0${ACCOUNT.password}`).toString('base64')
  const lines = [
    'EHLO me.example',
    ...(authenticated ? [`AUTH PLAIN ${token}`] : []),
    `MAIL FROM:<${from}>`,
    `RCPT TO:<${to}>`,
    'QUIT',
  ]
  return `(printf '${lines.map((line) => `${line}\\r\\n`).join('')}'; sleep 2) | nc 127.0.0.1 ${port}`
}

main().then(
  () => process.exit(0),
  (error: Error) => {
    console.error(error instanceof Trouble ? error.message : error)
    process.exit(1)
  },
)
