// One connection to a directory server, with many requests in flight on it. Every request ends: with
// the server's result, in its time-out, or when the connection ends, and after that end nothing is
// left of it. Requests made in one turn of the event loop leave in one write.
import type { Socket } from 'node:net'
import { guard, later, soon } from '../guard'
import { type Answer, addEntry, addReferences, emptyAnswer, isFull } from './answer'
import { type BerReader, integer, MalformedBer, TAG, tlv } from './ber'
import { type Control, encodeControls, readControls } from './controls'
import {
  DirectoryError,
  directoryError,
  printable,
  resultError,
  SIZE_LIMIT_EXCEEDED,
} from './directory-error'
import { readEntry } from './entry'
import { Incoming } from './incoming'
import { abandonRequest, startTlsRequest, unbindRequest } from './ldapjs'
import { LOOK_UP, READING, UNASKED } from './limits'
import type { Result, Sink, Stream, StreamOptions } from './search-result'

interface Request {
  /** The tag of the response that ends it. */
  readonly endsWith: number
  readonly sentAt: number
  readonly answer: Answer
  readonly timer: NodeJS.Timeout | undefined
  /** Where a stream's entries go. */
  readonly sink?: Sink
  /** When something came for the stream. */
  heardAt: number
  resolve(result: Result & { readonly controls: readonly Control[] }): void
  reject(error: DirectoryError): void
}

const OP = {
  bindResponse: 0x61,
  searchEntry: 0x64,
  searchDone: 0x65,
  searchReference: 0x73,
  extendedResponse: 0x78,
  intermediateResponse: 0x79,
} as const
/** Of an LDAPResult (RFC 4511 §4.1.9). */
const REFERRAL = 0xa3

/** Small numbers need few bytes, and none comes back while an old one may still be answered. */
const MAX_ID = 0x7fffff

export class Connection {
  readonly openedAt = performance.now()
  /** When the last result came that nobody had stopped waiting for. */
  answeredAt = 0
  /** When the last request was sent. */
  usedAt = performance.now()
  /** Its server is doubted, and is being tried over it. */
  isOnTrial = false
  /** Questions that are being answered over it; some wait for what others have asked already. */
  questions = 0
  /** Asked before requests leave; until they may, they wait. */
  maySend: () => boolean = () => true
  /** Called once, after every request in flight has failed. */
  onEnd: (error: DirectoryError) => void = () => {}
  /** Called when a request has ended and there is room for one more. */
  onRoom: () => void = () => {}

  #socket: Socket
  #ended: DirectoryError | undefined
  #lastId = 0
  #incoming = new Incoming()
  /** Bytes that nobody waited for, since the last that somebody did. */
  #unasked = 0
  #outgoing: Buffer[] = []
  readonly #requests = new Map<number, Request>()

  /** @param socket connected already, TLS or not */
  constructor(socket: Socket) {
    this.#socket = socket
    this.#attach(socket)
  }

  /** The server's; undefined when the connection has ended, or is not by TCP. */
  get port(): number | undefined {
    return this.#socket.remotePort
  }

  get inFlight(): number {
    return this.#requests.size
  }

  /** Why it ended, once it has. */
  get ended(): DirectoryError | undefined {
    return this.#ended
  }

  /**
   * @param operation a SearchRequest, encoded without message number
   * @param timeout milliseconds
   * @throws DirectoryError when no result came; any result code is a result
   */
  search(operation: Buffer, timeout: number): Promise<Result> {
    return this.#send(this.#nextId(), [operation], OP.searchDone, timeout)
  }

  /**
   * A search that may bring any number of entries and go on for ever. Its result rejects with a
   * DirectoryError when it cannot come.
   * @param operation a SearchRequest, encoded without message number
   */
  stream(operation: Buffer, sink: Sink, { controls = [], patience }: StreamOptions): Stream {
    const id = this.#nextId()
    const message = [operation, ...(controls.length > 0 ? [encodeControls(controls)] : [])]
    const result = this.#send(id, message, OP.searchDone, patience, sink)
    const abandon = () => {
      if (this.#take(id)) this.#write(abandonRequest(this.#nextId(), id))
    }
    return { result, abandon }
  }

  /** @param request makes the message @throws DirectoryError when no result came */
  bind(request: (messageId: number) => Buffer, timeout: number): Promise<Result> {
    return this.#requestMessage(request(this.#nextId()), OP.bindResponse, timeout)
  }

  /**
   * RFC 4511 §4.14. The caller puts TLS on the socket after that, with `upgrade`.
   * @throws DirectoryError when the server will not
   */
  async startTls(timeout: number): Promise<Socket> {
    const message = startTlsRequest(this.#nextId())
    const result = await this.#requestMessage(message, OP.extendedResponse, timeout)
    if (result.code !== 0) {
      const { message } = resultError(result.code, result.diagnostic)
      throw new DirectoryError('tls', `StartTLS refused: ${message}`)
    }
    // Anything that came in clear behind the answer would be taken for protected.
    if (!this.#incoming.isEmpty)
      throw new DirectoryError('protocol', 'unencrypted data after StartTLS')
    this.#detach()
    return this.#socket
  }

  /** Goes on over this socket. */
  upgrade(socket: Socket): void {
    this.#socket = socket
    this.#attach(socket)
  }

  /** Says goodbye and ends; requests still in flight fail. */
  close(): void {
    if (this.#ended) return
    const goodbye = unbindRequest(this.#nextId())
    this.#end(new DirectoryError('connection', 'connection closed'), () =>
      this.#socket.end(
        goodbye,
        guard('goodbye to a directory server', () => this.#socket.destroy()),
      ),
    )
    // A server that does not read must not keep the process.
    later(500, 'end of a directory connection', () => this.#socket.destroy()).unref()
  }

  /** Ends at once; requests in flight fail with this error. */
  destroy(error: DirectoryError): void {
    this.#end(error, () => this.#socket.destroy())
  }

  #requestMessage(message: Buffer, endsWith: number, timeout: number): Promise<Result> {
    return this.#send(this.#lastId, message, endsWith, timeout)
  }

  #send(
    id: number,
    message: Buffer | readonly Buffer[],
    endsWith: number,
    timeout: number,
    sink?: Sink,
  ): Promise<Result & { readonly controls: readonly Control[] }> {
    return new Promise((resolve, reject) => {
      if (this.#ended) return reject(this.#ended)
      const sentAt = performance.now()
      const endless = sink !== undefined && timeout === 0
      // What lies in the socket came in time: it is read before the end is called.
      const over = () => {
        const since = performance.now()
        soon('expired search', () => this.#timedOut(id, timeout, since), this.#broken)
      }
      const timer = endless ? undefined : later(timeout, 'search time-out', over, this.#broken)
      this.#requests.set(id, {
        endsWith,
        sentAt,
        heardAt: sentAt,
        answer: emptyAnswer(),
        timer,
        sink,
        resolve,
        reject,
      })
      this.usedAt = sentAt
      this.#write(Buffer.isBuffer(message) ? message : tlv(TAG.sequence, integer(id), ...message))
    })
  }

  #nextId(): number {
    do this.#lastId = this.#lastId >= MAX_ID ? 1 : this.#lastId + 1
    while (this.#requests.has(this.#lastId))
    return this.#lastId
  }

  #write(message: Buffer): void {
    if (this.#outgoing.push(message) > 1) return
    soon('directory requests', this.#flush, this.#broken)
  }

  readonly #flush = () => {
    const bytes = this.#outgoing.length === 1 ? this.#outgoing[0] : Buffer.concat(this.#outgoing)
    this.#outgoing = []
    if (this.#ended || !bytes) return
    if (this.maySend()) this.#socket.write(bytes)
    else this.#write(bytes)
  }

  /** A failure of ours: who waits for an answer fails at once, and another connection is opened. */
  readonly #broken = (error: unknown) => this.destroy(directoryError(error))

  #timedOut(id: number, timeout: number, since: number): void {
    const request = this.#requests.get(id)
    if (!request || request.heardAt >= since) return
    this.#take(id)
    this.#write(abandonRequest(this.#nextId(), id))
    request.reject(new DirectoryError('timeout', `no answer in ${Math.round(timeout)} ms`))
    this.onRoom()
  }

  /** As if the server had kept to the size limit. */
  #cutShort(id: number, { answer, resolve }: Request): void {
    const { entries, references, leftOut } = answer
    const code = SIZE_LIMIT_EXCEEDED
    this.#take(id)
    this.#write(abandonRequest(this.#nextId(), id))
    resolve({ code, diagnostic: '', entries, references, leftOut, controls: [] })
    this.onRoom()
  }

  #take(id: number): Request | undefined {
    const request = this.#requests.get(id)
    this.#requests.delete(id)
    clearTimeout(request?.timer)
    return request
  }

  #attach(socket: Socket): void {
    const closed = () =>
      this.destroy(new DirectoryError('connection', 'the server closed the connection'))
    socket.on(
      'data',
      guard('directory data', (chunk: Buffer) => this.#receive(chunk), this.#broken),
    )
    socket.on('error', guard('directory connection error', this.#broken, this.#broken))
    socket.on('close', guard('closed directory connection', closed, closed))
  }

  #detach(): void {
    this.#socket.removeAllListeners('data').removeAllListeners('close')
  }

  #receive(chunk: Buffer): void {
    try {
      for (const message of this.#incoming.messages(chunk, this.#isWanted)) {
        this.#message(message)
        if (this.#ended) return
      }
    } catch (error) {
      // Whatever else is thrown is a failure of ours, which the log is to show with its stack.
      if (!(error instanceof MalformedBer || error instanceof DirectoryError)) throw error
      const ours = error instanceof DirectoryError && error
      this.destroy(ours || new DirectoryError('protocol', `not an LDAP answer: ${error.message}`))
    }
  }

  /** Of a message that is large. */
  readonly #isWanted = (id: number, length: number): boolean => {
    if (length > READING.bytes || id === 0) throw new MalformedBer(`a message of ${length} bytes`)
    const request = this.#requests.get(id)
    if (!request) this.#notAsked(length)
    if (!request || request.sink || length <= LOOK_UP.bytes) return request !== undefined
    request.answer.leftOut = `an entry of ${length} bytes is too large to be read`
    this.#count(id, request)
    return false
  }

  #notAsked(length: number): void {
    this.#unasked += length
    if (this.#unasked <= UNASKED) return
    throw new DirectoryError('protocol', 'the server sends a response that nobody asked for')
  }

  /** A message has come for a look-up: ends one that has no end. */
  #count(id: number, request: Request): void {
    if (isFull(request.answer, this.#requests.values())) this.#cutShort(id, request)
  }

  #message(outer: BerReader): void {
    const message = outer.expect(TAG.sequence).inside()
    const id = message.expect(TAG.integer).number()
    const tag = message.next()
    const body = message.inside()
    if (id === 0) {
      this.#notice(tag, body)
      return
    }
    const request = this.#requests.get(id)
    // The answer to a request that we stopped waiting for.
    if (!request) {
      this.#notAsked(outer.limit - outer.start)
      return
    }
    this.#unasked = 0
    const { sink } = request
    if (sink && tag !== OP.searchReference) {
      request.heardAt = performance.now()
      request.timer?.refresh()
    }
    switch (tag) {
      case OP.searchEntry:
        if (sink) sink.entry(readEntry(body, READING.values), readControls(message))
        else addEntry(request.answer, body)
        break
      case OP.searchReference:
        if (sink) sink.reference?.(readUrls(body))
        else addReferences(request.answer, readUrls(body))
        break
      case OP.intermediateResponse:
        sink?.intermediate?.(...readIntermediate(body))
        break
      case request.endsWith: {
        const code = body.expect(TAG.enumerated).number()
        body.expect(TAG.octets)
        const diagnostic = body.expect(TAG.octets).text()
        if (body.more && body.next() === REFERRAL) {
          addReferences(request.answer, readUrls(body.inside()))
        }
        const controls = sink ? readControls(message) : []
        this.#take(id)
        this.answeredAt = performance.now()
        const { entries, references, leftOut } = request.answer
        request.resolve({ code, diagnostic, entries, references, leftOut, controls })
        this.onRoom()
        return
      }
      default:
        throw new MalformedBer(`an answer with tag 0x${tag.toString(16)}`)
    }
    if (!sink) this.#count(id, request)
  }

  /** RFC 4511 §4.4.1: the server says that it is about to close. */
  #notice(tag: number, body: BerReader): void {
    if (tag !== OP.extendedResponse) throw new MalformedBer('a message without an ID')
    body.expect(TAG.enumerated).number()
    body.expect(TAG.octets)
    const words = printable(body.expect(TAG.octets).text())
    const text = `the server disconnects${words && `: ${words}`}`
    this.destroy(new DirectoryError('connection', text))
  }

  #end(error: DirectoryError, endSocket: () => void): void {
    if (this.#ended) return
    this.#ended = error
    this.#incoming = new Incoming()
    endSocket()
    const requests = [...this.#requests.values()]
    this.#requests.clear()
    for (const request of requests) {
      clearTimeout(request.timer)
      request.reject(error)
    }
    this.onEnd(error)
  }
}

function readUrls(body: BerReader): string[] {
  const urls: string[] = []
  while (body.more) urls.push(body.expect(TAG.octets).text())
  return urls
}

function readIntermediate(body: BerReader): [name: string, value: Buffer] {
  let name = ''
  let value: Buffer = Buffer.alloc(0)
  let left = 10
  while (body.more) {
    if (--left === 0) throw new MalformedBer('an intermediate response of many parts')
    const tag = body.next()
    if (tag === 0x80) name = body.text()
    if (tag === 0x81) value = body.bytes.subarray(body.start, body.end)
  }
  return [name, value]
}
