// Makes Haraka ask only the DNS server TEST_DNS. Since tests cannot listen on port 25, a connection to port 25 of
// an address in TEST_PORT_25 (`127.0.0.2=12345 …`) goes to the port named there.
const net = require('node:net')

exports.register = () => {
  require('haraka-net-utils/lib/dns_config').getDnsResolver().setServers([process.env.TEST_DNS])
  const ports = new Map((process.env.TEST_PORT_25 ?? '').split(' ').map((pair) => pair.split('=')))
  const { connect } = net
  net.connect = (options, ...rest) => {
    const port = options.port === 25 ? ports.get(options.host) : undefined
    return connect.call(net, port ? { ...options, port: Number(port) } : options, ...rest)
  }
}
