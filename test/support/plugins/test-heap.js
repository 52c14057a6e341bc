// Tells how much is left on the heap when all garbage is gone, at SIGUSR2: `test-heap: bytes`.
const v8 = require('node:v8')
const vm = require('node:vm')

exports.register = () => {
  v8.setFlagsFromString('--expose-gc')
  const collect = vm.runInNewContext('gc')
  process.on('SIGUSR2', () => {
    collect()
    process.stdout.write(`test-heap: ${process.memoryUsage().heapUsed}\n`)
  })
}
