// The WebAssembly of siphash24; the package has no types of its own.

declare module 'siphash24/siphash24.js' {
  interface Siphash24 {
    /** In its bytes: the hash at 0, the key at 8. */
    readonly memory: { readonly buffer: ArrayBuffer }
    /** @param at where in memory the bytes to hash are: from 24 on */
    siphash(at: number, length: number): void
  }
  function instantiate(): Siphash24
  export = instantiate
}
