#!/usr/bin/env node
// gal-relay: the postmaster's command. It reads the configuration as the server does, and answers
// with the code that answers mail. Exit code 0: fine; 1: the answer is "no", or problems were
// found; 2: wrong usage, or the command cannot run.
import { guard, onFailure, unattended } from '../guard'
import { runProgram } from './program'

// Output of libraries must not get into the answer.
console.log = console.error
// The reader of our output, such as head, may have closed it.
const onWriteError = (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit()
  // Usually a full disk.
  console.error(`the answer cannot be written: ${error.message}`)
  process.exit(2)
}
process.stdout.on('error', guard('standard output', onWriteError))
// An answer with a failed part is not an answer.
onFailure((_what, error) => {
  console.error(error)
  process.exit(2)
})
unattended('gal-relay', () => runProgram(process.argv.slice(2)))
