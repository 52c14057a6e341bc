// Asks a running Haraka and `gal-relay explain` the same question, and compares the replies word for word.
import assert from 'node:assert/strict'
import type { Explanation } from '../../plugins/gal-relay/advice/explain'
import { type LoadedCommand, runJson } from './command'
import type { Haraka } from './haraka'
import { connectSmtp } from './smtp'
import { type Case, PASSWORDS } from './vectors'

type Question = Omit<Case, 'reply'>

export interface Answer {
  readonly recipients: readonly Explanation[]
}

const SENDER = 'something@sender.example'

export function argumentsOf({ client, local, from = SENDER, auth, to }: Question, haraka: Haraka) {
  return [
    ...['--config', haraka.dir, '--client', client, '--listener', local, '--from', from],
    ...(auth ? ['--auth', auth] : []),
    ...['--', ...[to].flat()],
  ]
}

/** @returns the reply to each recipient, with all its lines */
async function askServer(haraka: Haraka, question: Question): Promise<string[]> {
  const { client, local, auth, from = SENDER, to } = question
  const smtp = await connectSmtp({ port: haraka.port, proxy: { client, local } })
  try {
    await smtp.ehlo()
    if (auth === 'carol' || auth === 'guest') {
      assert.equal((await smtp.auth(auth, PASSWORDS[auth])).code, 235, `AUTH as ${auth}`)
    }
    const mail = await smtp.mail(from)
    const replies: string[] = []
    for (const recipient of [to].flat()) {
      const rcpt = recipient.startsWith('<')
        ? await smtp.command(`RCPT TO:${recipient}`)
        : await smtp.rcpt(recipient)
      replies.push((mail.code === 250 ? rcpt : mail).lines.join('\n'))
    }
    return replies
  } finally {
    await smtp.quit()
  }
}

/** @returns the output of the command, for more checks */
export async function agree(
  haraka: Haraka,
  question: Question,
  command: Pick<LoadedCommand, 'runJson'> = { runJson },
): Promise<readonly Explanation[]> {
  const replies = await askServer(haraka, question)
  const args = ['explain', ...argumentsOf(question, haraka)]
  const { code, json } = await command.runJson<Answer>(args)
  assert.deepEqual(
    json.recipients.map(({ reply }) => reply),
    replies,
    JSON.stringify(question),
  )
  assert.equal(code, replies.every((reply) => reply.startsWith('250')) ? 0 : 1)
  for (const [index, one] of json.recipients.entries()) {
    assert.equal(one.recipient, [question.to].flat()[index])
    assert.equal(one.code, Number(replies[index]?.slice(0, 3)))
    assert.ok(one.rule && one.steps.length > 0)
  }
  return json.recipients
}
