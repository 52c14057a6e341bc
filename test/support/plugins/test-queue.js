// A queue plugin that keeps mail for the test in <install>/delivered: an .eml file, byte for byte, and a .json
// file with the envelope, which is written last. If <install>/queue-answer has a word, the plugin answers with
// that instead of OK, and keeps nothing.
const fs = require('node:fs')
const path = require('node:path')

const folder = path.join(process.env.HARAKA, 'delivered')
const relayingInDataPost = new WeakMap()
let count = 0

exports.hook_data_post = (next, connection) => {
  relayingInDataPost.set(connection.transaction, connection.relaying)
  next()
}

exports.hook_queue = function (next, connection) {
  const answer = readAnswer()
  if (answer === 'DENY') return next(DENY, 'the test said so')
  if (answer === 'DENYSOFT') return next(DENYSOFT, 'the test said so')
  if (answer === 'CONT') return next()

  const { transaction } = connection
  const envelope = {
    uuid: transaction.uuid,
    mail_from: textOf(transaction.mail_from),
    rcpt_to: transaction.rcpt_to.map(textOf),
    relaying: {
      data_post: relayingInDataPost.get(transaction) ?? false,
      queue: connection.relaying,
    },
  }
  const file = path.join(folder, `${Date.now()}-${process.pid}-${String(++count).padStart(6, '0')}`)
  const body = fs.createWriteStream(`${file}.eml`)
  body.once('error', (error) => next(DENYSOFT, error.message))
  body.once('close', () => {
    fs.writeFileSync(`${file}.tmp`, JSON.stringify(envelope))
    fs.renameSync(`${file}.tmp`, `${file}.json`)
    connection.lognotice(this, `kept ${file}.eml for ${envelope.rcpt_to.join(', ')}`)
    next(OK)
  })
  transaction.message_stream.pipe(body)
}

// Before Haraka 3.3 `address` is a method, or may be used as one.
function textOf(address) {
  return typeof address.address === 'function' ? address.address() : address.address
}

function readAnswer() {
  try {
    return fs.readFileSync(path.join(process.env.HARAKA, 'queue-answer'), 'utf8').trim()
  } catch {
    return 'OK'
  }
}
