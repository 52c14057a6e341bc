// The gal-relay command in a process that runs it many times. Each message is one run, each answer what
// came of it.
import { Readable } from 'node:stream'
import { runProgram } from '../../plugins/gal-relay/cli/program'
import type { CommandResult, CommandRun } from './command'

const configReader: object = require('haraka-config/lib/reader')
const configWatch: { closeAll(): void } = require('haraka-config/lib/watch')

const output = { stdout: '', stderr: '' }
for (const name of ['stdout', 'stderr'] as const) {
  process[name].write = (text: string | Uint8Array) => {
    output[name] += text
    return true
  }
}

process.on('message', async ({ args, cwd, env, input }: CommandRun) => {
  Object.assign(output, { stdout: '', stderr: '' })
  process.exitCode = undefined
  process.chdir(cwd)
  process.env = { ...env }
  Object.defineProperty(process, 'stdin', { value: Readable.from([Buffer.from(input)]) })
  forgetFiles()
  await runProgram(args)
  process.send?.({ code: Number(process.exitCode ?? 0), ...output } satisfies CommandResult)
})

/** Another install may be in the place of the one before. */
function forgetFiles(): void {
  configWatch.closeAll()
  Object.assign(configReader, {
    _config_cache: {},
    _read_args: {},
    _overrides: {},
    _load_errors: {},
  })
}
