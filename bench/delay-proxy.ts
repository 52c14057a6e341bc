// A TCP proxy in its own process that makes a server on loopback appear some milliseconds away:
// `node delay-proxy.js port milliseconds` prints the port to use instead.
import { startTcpProxy } from '../test/support/tcp-proxy'

async function main([port, milliseconds]: readonly string[]): Promise<void> {
  const proxy = await startTcpProxy(Number(port))
  proxy.behave({ kind: 'delay', milliseconds: Number(milliseconds) })
  console.log(`port ${proxy.port}`)
}

void main(process.argv.slice(2))
