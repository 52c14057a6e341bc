// Until when a directory may be read from here, where another server reads it after that. Whoever holds the lease
// (sharing.ts) and the process that reads have one clock, which goes on while either is stopped.

/** @returns until when, on the clock of the machine */
export type Lease = () => number

/** Milliseconds on a clock that all processes of the machine have in common. */
export const machineTime = () => Number(process.hrtime.bigint() / 1_000_000n)

/** @param moment of `performance.now()` in this process */
export const onMachine = (moment: number) => machineTime() + moment - performance.now()
