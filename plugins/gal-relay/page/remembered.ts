// Remembers results that take a while to compute, for a page that is requested every few seconds.

/**
 * @param make called again only for another key, or if its last result is older than `milliseconds`
 * @param milliseconds `Infinity`: until the key changes
 */
export function remembered<K, V>(milliseconds: number, make: (key: K) => V): (key: K) => V {
  let last: { readonly key: K; readonly value: V; readonly at: number } | undefined
  return (key) => {
    const now = performance.now()
    if (!last || last.key !== key || now - last.at > milliseconds) {
      last = { key, value: make(key), at: now }
    }
    return last.value
  }
}
