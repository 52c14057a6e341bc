// Measures how long the event loop of a Haraka blocks.

/**
 * Every second reports three durations in milliseconds: the longest for which the event loop stood still;
 * the same without the time in which the process was ready but had no processor; and the longest for which
 * its thread ran between two turns of the loop (proc(5), /proc/…/schedstat).
 */
export const STALL_PLUGIN = `
const { openSync, readSync } = require('node:fs')
const { performance } = require('node:perf_hooks')
exports.register = function () {
  const file = openSync('/proc/thread-self/schedstat', 'r')
  const text = Buffer.alloc(100)
  const now = () => {
    const [ran, waited] = text.latin1Slice(0, readSync(file, text, 0, text.length, 0)).split(' ')
    return { at: performance.now(), ran: Number(ran) / 1e6, waited: Number(waited) / 1e6 }
  }
  let [before, most, mostOwn, mostRan] = [now(), 0, 0, 0]
  setInterval(() => {
    const turn = now()
    const stood = turn.at - before.at
    most = Math.max(most, stood)
    mostOwn = Math.max(mostOwn, stood - (turn.waited - before.waited))
    mostRan = Math.max(mostRan, turn.ran - before.ran)
    before = turn
  }, 1).unref()
  setInterval(() => {
    this.loginfo('stall ' + most.toFixed(1) + ' own ' + mostOwn.toFixed(1) + ' ran ' + mostRan.toFixed(1))
    most = mostOwn = mostRan = 0
  }, 1000).unref()
}
`

/**
 * @param log contains the plugin's reports
 * @returns the longest stall, the longest of the process' own, and the longest run, in milliseconds
 */
export function longestStall(log: string): [most: number, own: number, ran: number] {
  const stalls = [...log.matchAll(/ stall (\S+) own (\S+) ran (\S+)/g)]
  const most = (column: number) => Math.max(0, ...stalls.map((found) => Number(found[column])))
  return [most(1), most(2), most(3)]
}
