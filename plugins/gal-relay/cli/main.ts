#!/usr/bin/env node
// gal-relay: the postmaster's command. Reads the configuration as the server does, and answers with
// the rooms that answer mail. Exit code 0: fine; 1: the answer is "no", or problems were found;
// 2: used wrongly, or cannot run.
import { guard, onFailure, unattended } from '../guard'
import { runProgram } from './program'

// What libraries print must not get into the answer.
console.log = console.error
// Whoever reads our output, head for one, may have enough of it.
const onWriteError = (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit()
  // A full disk, mostly.
  console.error(`the answer cannot be written: ${error.message}`)
  process.exit(2)
}
process.stdout.on('error', guard('standard output', onWriteError))
// An answer of which a part failed is not an answer.
onFailure((_what, error) => {
  console.error(error)
  process.exit(2)
})
unattended('gal-relay', () => runProgram(process.argv.slice(2)))
