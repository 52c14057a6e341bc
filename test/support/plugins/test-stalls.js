// Tells how long the event loop stood still at most since it was asked last, at SIGUSR2:
// `test-stalls: milliseconds`.
const { monitorEventLoopDelay } = require('node:perf_hooks')

exports.register = () => {
  const delay = monitorEventLoopDelay({ resolution: 1 })
  delay.enable()
  process.on('SIGUSR2', () => {
    process.stdout.write(`test-stalls: ${delay.max / 1e6}\n`)
    delay.reset()
  })
}
