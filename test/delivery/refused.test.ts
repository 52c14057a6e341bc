// A recipient that was refused gets no mail, whoever refused it, and however many an alias has put in
// its place; one that was accepted gets it.
import assert from 'node:assert/strict'
import { after, before, beforeEach, describe, it } from 'node:test'
import { type Gateway, startGateway } from '../support/gateway'

const MESSAGE = 'From: a@sender.test\r\nSubject: refused\r\n\r\nHello.\r\n'

describe('an alias for several, and a plugin that refuses in rcpt_ok', () => {
  let gateway: Gateway
  let delivered: number

  before(async () => {
    gateway = await startGateway({
      people: ['anna@in.test', 'bob@in.test', 'carl@in.test'],
      routes: ['in.test = inbound'],
      plugins: ['test-alias', 'gal-relay', 'test-queue'],
      ini: '',
    })
  })
  beforeEach(() => {
    delivered = gateway.delivered().length
  })
  after(() => gateway?.stop())

  /** @returns the codes of the answers to RCPT and to the message, and who got it */
  async function send(...names: string[]) {
    const client = await gateway.client()
    await client.mail('a@sender.test')
    const rcpt: number[] = []
    for (const name of names) rcpt.push((await client.rcpt(`${name}@in.test`)).code)
    const data = (await client.data(MESSAGE)).line
    await client.quit()
    assert.deepEqual(gateway.queueFiles(), [], 'nobody is in the outbound queue')
    const got = gateway.delivered().slice(delivered)
    return { rcpt, data, got: got.flatMap(({ rcpt_to }) => rcpt_to) }
  }

  for (const [fate, code] of [
    ['deny', 550],
    ['soft', 450],
    ['stall', 450],
  ] as const) {
    it(`${fate}: none of them gets the message that others get`, async () => {
      for (const names of [
        ['carl', `${fate}-both`],
        [`${fate}-both`, 'carl'],
      ]) {
        const { rcpt, got } = await send(...names)
        assert.deepEqual(rcpt, names[0] === 'carl' ? [250, code] : [code, 250])
        assert.deepEqual(got.splice(0), ['carl@in.test'])
        delivered = gateway.delivered().length
      }
    })

    it(`${fate}: with nobody else there is no message`, async () => {
      const { rcpt, data, got } = await send(`${fate}-both`)
      assert.deepEqual({ rcpt, got }, { rcpt: [code], got: [] })
      assert.match(data, /^(503|554) /)
    })
  }

  it('an alias that we refuse leaves nobody behind', async () => {
    const { rcpt, got } = await send('take-both', 'nobody', 'carl')
    assert.deepEqual(rcpt, [250, 550, 250])
    assert.deepEqual(got, ['anna@in.test', 'bob@in.test', 'carl@in.test'])
  })

  for (const fate of ['take', 'throw']) {
    it(`${fate}: Haraka answers 250, and both get it`, async () => {
      const { rcpt, got } = await send(`${fate}-both`)
      assert.deepEqual({ rcpt, got }, { rcpt: [250], got: ['anna@in.test', 'bob@in.test'] })
    })
  }

  it('an alias for one and the same is one recipient', async () => {
    const { rcpt, got } = await send('take-twice')
    assert.deepEqual({ rcpt, got }, { rcpt: [250], got: ['anna@in.test'] })
  })

  it('an alias for nobody is deferred, and those accepted before keep their copy', async () => {
    const { rcpt, data, got } = await send('carl', 'take-nobody', 'bob')
    assert.deepEqual(rcpt, [250, 451, 250])
    assert.match(data, /^250 /)
    assert.deepEqual(got, ['carl@in.test', 'bob@in.test'])
    await gateway.waitForLog(/take-nobody@in\.test.* was removed/)
  })
})
