// Prints when a process of this Haraka is ready, whatever the log level, for the test that started it,
// and ends the process when that test is gone. It is listed last, so that every other plugin runs first.
// At SIGWINCH host_list, gal_relay.ini, and log.ini if it has changed, are read at once instead of seconds later.
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
  if (logIni !== readLogIni()) readAgain('log.ini')?.cb()
  logIni = readLogIni()
  // The plugin reads it with its settings.
  readAgain('host_list')
  readAgain('gal_relay.ini').cb()
}

/** @returns how the file was asked for, with the callback for changes; undefined if it was not */
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
