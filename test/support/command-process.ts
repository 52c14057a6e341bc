// The gal-relay command in a process that runs it many times, for one install: what takes long is to
// start Node and to load it. Each message is the arguments of one run, each answer what came of it.
import { runProgram } from '../../plugins/gal-relay/cli/program'
import type { CommandResult } from './command'

const output = { stdout: '', stderr: '' }
for (const name of ['stdout', 'stderr'] as const) {
  process[name].write = (text: string | Uint8Array) => {
    output[name] += text
    return true
  }
}

process.on('message', async (args: readonly string[]) => {
  Object.assign(output, { stdout: '', stderr: '' })
  process.exitCode = 0
  await runProgram(args)
  process.send?.({ code: Number(process.exitCode), ...output } satisfies CommandResult)
})
