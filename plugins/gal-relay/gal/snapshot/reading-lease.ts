// Until when this server may read a directory that another server may read afterwards. The holder
// of the lease (sharing.ts) and the reading process share a clock that keeps running while either
// is stopped.

/** @returns until when, on the clock of the machine */
export type Lease = () => number

/** Milliseconds on a clock that all processes of the machine share. */
export const machineTime = () => Number(process.hrtime.bigint() / 1_000_000n)

/** @param moment a value of `performance.now()` in this process */
export const onMachine = (moment: number) => machineTime() + moment - performance.now()
