// What takes a while to work out, for a page that is asked for every few seconds.

/**
 * @param make called anew only for another key, or when what it made is older than that
 * @param milliseconds `Infinity`: as long as the key is the same
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
