// Loaded into the Harakas of the tests before Haraka itself (`node --require`). Haraka loads these packages at
// every start, for plugins, settings and headers that few installs see. Loaded when they are first used instead,
// they leave a start with half of its work.
import { createRequire } from 'node:module'

/** By the package that loads them. */
const LOADED_BY = {
  redis: 'haraka-plugin-redis',
  yaml: 'haraka-config',
  libmime: 'haraka-email-message',
  'haraka-tld': 'haraka-net-utils',
}

const haraka = createRequire(process.argv[1] ?? __filename)
for (const [name, parent] of Object.entries(LOADED_BY)) {
  try {
    loadOnDemand(createRequire(haraka.resolve(parent)), name)
  } catch {
    // Other releases of Haraka do without it.
  }
}

function loadOnDemand(from: NodeJS.Require, name: string): void {
  const file = from.resolve(name)
  const cached: Record<string, unknown> = from.cache
  let loaded: object | undefined
  const real = (): object => {
    if (loaded) return loaded
    if (cached[file] === standIn) delete cached[file]
    loaded = from(file) as object
    return loaded
  }
  const exports = new Proxy(
    {},
    {
      get: (_, key) => Reflect.get(real(), key),
      has: (_, key) => Reflect.has(real(), key),
    },
  )
  const standIn = { id: file, filename: file, loaded: true, children: [], exports }
  cached[file] = standIn
}
