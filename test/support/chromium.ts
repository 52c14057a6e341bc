// A real Chromium without a window, which is started once for a test file; each look at it has cookies
// and storage of its own. It is Debian's; nothing is downloaded.
import { type Browser, type BrowserContext, chromium } from 'playwright-core'
import { findProgram } from './programs'

export interface Look {
  readonly width: number
  readonly height?: number
  readonly scheme: 'light' | 'dark'
}

const QUIET = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
]

let browser: Promise<Browser> | undefined

/** To be closed. */
export async function lookWithChromium({
  width,
  height = 800,
  scheme,
}: Look): Promise<BrowserContext> {
  browser ??= chromium.launch({ executablePath: findProgram('chromium'), args: QUIET })
  return (await browser).newContext({
    viewport: { width, height },
    colorScheme: scheme,
    locale: 'en-GB',
  })
}

/** Once, at the end. */
export async function stopChromium(): Promise<void> {
  await (await browser)?.close()
}
