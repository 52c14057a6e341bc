// The part of siphash24 that we use; the package has no types of its own.

declare module 'siphash24' {
  /**
   * SipHash-2-4 of the data.
   * @param key 16 bytes
   * @param out takes the 8 bytes of the hash
   */
  function siphash24(
    data: Uint8Array,
    key: Uint8Array,
    out: Uint8Array,
    noAssert?: boolean,
  ): Uint8Array
  export = siphash24
}
