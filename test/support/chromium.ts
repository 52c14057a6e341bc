// A real Chromium without a window: Debian's, nothing is downloaded. It starts once for a test file, and
// so does its page, because a new page costs as much as ten loads of one that is open.
import { type Browser, chromium, type Page } from 'playwright-core'
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
let page: Promise<Page> | undefined

/** A page of its own, with its own clock and network. Close its context after use. */
export async function newPage({ width, height = 800, scheme }: Look): Promise<Page> {
  browser ??= chromium.launch({ executablePath: findProgram('chromium'), args: QUIET })
  const context = await (await browser).newContext({
    viewport: { width, height },
    colorScheme: scheme,
    locale: 'en-GB',
  })
  return context.newPage()
}

/** The one page of the test file, with this look. */
export async function sharedPage(look: Look): Promise<Page> {
  page ??= newPage(look)
  const shared = await page
  await shared.setViewportSize({ width: look.width, height: look.height ?? 800 })
  await shared.emulateMedia({ colorScheme: look.scheme })
  return shared
}

/** Call it once, when the test file ends. */
export async function stopChromium(): Promise<void> {
  await (await browser)?.close()
}
