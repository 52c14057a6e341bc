// Tells the test that started this Haraka when a process of it is ready, whatever the log level, and
// ends it when that test is gone. Listed last, so that every other plugin has had its turn.
const parent = process.ppid

exports.register = function () {
  this.register_hook('init_master', 'master_ready', 100)
  this.register_hook('init_child', 'child_ready', 100)
  setInterval(() => {
    if (process.ppid !== parent) process.exit(1)
  }, 500).unref()
}

exports.master_ready = (next, server) => {
  if (!server.cluster) process.stdout.write(`test-harness: ready ${process.pid}\n`)
  next()
}

exports.child_ready = (next) => {
  process.stdout.write(`test-harness: ready ${process.pid}\n`)
  next()
}
