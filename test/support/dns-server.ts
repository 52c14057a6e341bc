// A DNS server for a test. It has the records that it is given, and answers NXDOMAIN for all other names. A
// Haraka with the test-dns plugin asks this server only.
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import packet from 'dns-packet'

export type Records = Readonly<
  Record<
    string,
    {
      readonly mx?: readonly (readonly [preference: number, host: string])[]
      readonly a?: readonly string[]
      readonly aaaa?: readonly string[]
      readonly srv?: readonly {
        readonly priority: number
        readonly weight: number
        readonly port: number
        readonly target: string
      }[]
      /** Answers SERVFAIL. */
      readonly fails?: boolean
    }
  >
>

export interface DnsServer {
  /** `127.0.0.1:port`, for `TEST_DNS` */
  readonly address: string
  setRecords(records: Records): void
  stop(): Promise<void>
}

export async function startDns(records: Records = {}): Promise<DnsServer> {
  let known = records
  const socket = createSocket('udp4')
  socket.on('message', (message, client) => {
    const query = packet.decode(message)
    const [question] = query.questions ?? []
    if (!question) return
    const answer = packet.encode({
      type: 'response',
      id: query.id,
      flags: packet.RECURSION_DESIRED | packet.RECURSION_AVAILABLE | codeOf(known, question.name),
      questions: query.questions,
      answers: answersTo(known, question),
    })
    socket.send(answer, client.port, client.address)
  })
  socket.bind(0, '127.0.0.1')
  await once(socket, 'listening')
  const { port } = socket.address() as AddressInfo
  return {
    address: `127.0.0.1:${port}`,
    setRecords(next) {
      known = next
    },
    async stop() {
      socket.close()
      await once(socket, 'close')
    },
  }
}

const SERVFAIL = 2
const NXDOMAIN = 3

function codeOf(records: Records, name: string): number {
  const record = records[name.toLowerCase()]
  if (!record) return NXDOMAIN
  return record.fails ? SERVFAIL : 0
}

function answersTo(records: Records, { name, type }: packet.Question): packet.Answer[] {
  const { mx = [], a = [], aaaa = [], srv = [], fails } = records[name.toLowerCase()] ?? {}
  if (fails) return []
  const common = { name, ttl: 1, class: 'IN' as const }
  if (type === 'MX') {
    return mx.map(([preference, exchange]) => ({
      ...common,
      type: 'MX' as const,
      data: { preference, exchange },
    }))
  }
  if (type === 'A') return a.map((data) => ({ ...common, type: 'A' as const, data }))
  if (type === 'AAAA') return aaaa.map((data) => ({ ...common, type: 'AAAA' as const, data }))
  if (type === 'SRV') return srv.map((data) => ({ ...common, type: 'SRV' as const, data }))
  return []
}
