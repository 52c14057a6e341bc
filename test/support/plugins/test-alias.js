// Replaces `FATE-WHOM@…` with other recipients, and then does in `rcpt_ok` what its fate is: take, deny, soft,
// throw or stall.
const { Address } = require('@haraka/email-address')

const WHOM = {
  both: ['anna', 'bob'],
  twice: ['anna', 'anna'],
  nobody: [],
}

exports.register = function () {
  this.timeout = 1
}

exports.hook_rcpt = (next, { transaction }, [{ user, host }]) => {
  const [fate, whom] = user.split('-')
  transaction.notes.test_fate = fate
  if (WHOM[whom]) {
    transaction.rcpt_to.pop()
    transaction.rcpt_to.push(...WHOM[whom].map((name) => new Address(name, host)))
  }
  next()
}

exports.hook_rcpt_ok = (next, { transaction }) => {
  const { test_fate } = transaction.notes
  if (test_fate === 'deny') return next(DENY, 'the test said so')
  if (test_fate === 'soft') return next(DENYSOFT, 'the test said so')
  if (test_fate === 'throw') throw new Error('the test said so')
  if (test_fate !== 'stall') next()
}
