// Tells the test that started this Haraka when a process of it is ready, whatever the log level, and
// ends it when that test is gone. Listed last, so that every other plugin has had its turn.
// At SIGWINCH gal_relay.ini and host_list are read at once; otherwise that takes five seconds.
const path = require('node:path')
const configReader = require('haraka-config/lib/reader')

const parent = process.ppid

exports.register = function () {
  this.register_hook('init_master', 'master_ready', 100)
  this.register_hook('init_child', 'child_ready', 100)
  setInterval(() => {
    if (process.ppid !== parent) process.exit(1)
  }, 500).unref()
  process.on('SIGWINCH', reload)
}

function reload() {
  readAgain('host_list')
  readAgain('gal_relay.ini').cb()
}

function readAgain(name) {
  const file = path.join(process.env.HARAKA, 'config', name)
  const args = configReader._read_args[file]
  if (args) configReader.load_config(file, args.type, args.options)
  return args
}

exports.master_ready = (next, server) => {
  if (!server.cluster) process.stdout.write(`test-harness: ready ${process.pid}\n`)
  next()
}

exports.child_ready = (next) => {
  process.stdout.write(`test-harness: ready ${process.pid}\n`)
  next()
}
