// A real Chromium without a window, in a profile of its own that is removed afterwards. It is
// Debian's; nothing is downloaded.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { type BrowserContext, chromium } from 'playwright-core'
import { findProgram } from './programs'

export interface Look {
  readonly width: number
  readonly height?: number
  readonly scheme: 'light' | 'dark'
}

export interface Browser {
  readonly context: BrowserContext
  close(): Promise<void>
}

const QUIET = [
  '--headless',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
]

export async function startChromium({ width, height = 800, scheme }: Look): Promise<Browser> {
  const profile = mkdtempSync(path.join(tmpdir(), 'chromium-'))
  const context = await chromium.launchPersistentContext(profile, {
    executablePath: findProgram('chromium'),
    args: QUIET,
    viewport: { width, height },
    colorScheme: scheme,
    locale: 'en-GB',
  })
  return {
    context,
    async close() {
      await context.close()
      rmSync(profile, { recursive: true, force: true })
    },
  }
}
