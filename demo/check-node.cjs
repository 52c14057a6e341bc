// Says in plain words that Node is too old, before loading code that an older Node cannot even parse.
const { node } = process.versions
if (Number(node.split('.')[0]) < 20) {
  console.error(`This needs Node.js 20 or newer, and here is ${node}.`)
  process.exit(1)
}
