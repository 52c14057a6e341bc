// At SIGUSR2 it prints the size of the heap after a garbage collection: `test-heap: bytes`.
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
