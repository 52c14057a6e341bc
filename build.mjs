// Compiles into an emptied dist/, so that no file of an earlier build is tested or packed.
import { execFileSync } from 'node:child_process'
import { cpSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import path from 'node:path'

const root = import.meta.dirname ?? path.dirname(new URL(import.meta.url).pathname)
const typescript = path.dirname(createRequire(import.meta.url).resolve('typescript/package.json'))
rmSync(path.join(root, 'dist'), { recursive: true, force: true })
try {
  execFileSync(process.execPath, [path.join(typescript, 'bin/tsc'), '-p', root], {
    stdio: 'inherit',
  })
} catch {
  process.exit(1)
}

// What the status page loads is served as it is.
const page = 'plugins/gal-relay/page'
for (const file of ['page.css', 'sections.css', 'page.js']) {
  cpSync(path.join(root, page, file), path.join(root, 'dist', page, file))
}
