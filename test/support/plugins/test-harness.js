// Prints when a process of this Haraka is ready, whatever the log level, for the test that started it,
// and ends the process when that test is gone. It is listed last, so that every other plugin runs first.
// At SIGWINCH gal_relay.ini, and log.ini if it has changed, are read at once instead of seconds later.
const fs = require('node:fs')
const path = require('node:path')
const configReader = require('haraka-config/lib/reader')

const parent = process.ppid
const readLogIni = () => fs.readFileSync(path.join(process.env.HARAKA, 'config', 'log.ini'), 'utf8')
// Haraka logs something whenever it reads log.ini.
let logIni = readLogIni()

exports.register = function () {
  this.register_hook('init_master', 'master_ready', 100)
  this.register_hook('init_child', 'child_ready', 100)
  setInterval(() => {
    if (process.ppid !== parent) process.exit(1)
  }, 500).unref()
  process.on('SIGWINCH', reload)
}

function reload() {
  if (logIni !== readLogIni()) read('log.ini')
  logIni = readLogIni()
  read('gal_relay.ini')
}

function read(name) {
  const file = path.join(process.env.HARAKA, 'config', name)
  const { type, options, cb } = configReader._read_args[file]
  configReader.load_config(file, type, options)
  cb()
}

exports.master_ready = (next, server) => {
  if (!server.cluster) process.stdout.write(`test-harness: ready ${process.pid}\n`)
  next()
}

exports.child_ready = (next) => {
  process.stdout.write(`test-harness: ready ${process.pid}\n`)
  next()
}
