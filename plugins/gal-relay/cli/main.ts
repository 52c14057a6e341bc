#!/usr/bin/env node
// gal-relay: the postmaster's command. It reads the configuration like the server, and uses the same rooms
// that answer mail. Exit codes: 0 all is well; 1 the answer is "no", or problems were found; 2 wrong usage, or
// it cannot run.
import { guard, onFailure, unattended } from '../guard'
import { runProgram } from './program'

// Output of libraries must not get into the answer.
console.log = console.error
// The reader of our output, such as head, may stop early.
const onWriteError = (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit()
  // Usually a full disk.
  console.error(`the answer cannot be written: ${error.message}`)
  process.exit(2)
}
process.stdout.on('error', guard('standard output', onWriteError))
// A partial answer is no answer.
onFailure((_what, error) => {
  console.error(error)
  process.exit(2)
})
unattended('gal-relay', () => runProgram(process.argv.slice(2)))
