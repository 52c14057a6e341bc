// Whether Haraka's own HTTP server can run, and what to do if it cannot. Haraka starts it if
// config/http.ini has `listen` and the express package can be found.
import { createRequire } from 'node:module'

/** Haraka answers requests for unknown pages with a method that this version introduced. */
const OLDEST_EXPRESS = [4, 8] as const

type HttpIni = Readonly<Record<string, Readonly<Record<string, unknown>> | undefined>>

/**
 * For use inside Haraka.
 * @param httpIni config/http.ini as Haraka reads it
 * @returns what is missing and how to fix it, or `undefined`
 */
export function missingHttpServer(httpIni: HttpIni): string | undefined {
  // Haraka's program file, with symbolic links resolved.
  return missingAddress(httpIni) ?? missingExpress(require.main?.filename ?? __filename)
}

/** @returns the same, for the address alone */
export function missingAddress(httpIni: HttpIni): string | undefined {
  if (httpIni.main?.listen) return undefined
  return (
    'config/http.ini has no address for it; write listen=127.0.0.1:8080 there, with an address ' +
    'and port of your choice, and restart Haraka'
  )
}

function missingExpress(from: string): string | undefined {
  const found = findExpress(from)
  if (found) return tooOld(found)
  return (
    "Haraka's HTTP server needs the package express, which is not installed; run npm install " +
    "express in Haraka's folder and restart Haraka"
  )
}

export interface Express {
  /** The file that would be loaded. */
  readonly file: string
  /** `4.19.2`; `undefined` if its package does not say. */
  readonly version: string | undefined
}

/**
 * @param from the file that would load it
 * @returns `undefined` if it cannot be found from there
 */
export function findExpress(from: string): Express | undefined {
  const require = createRequire(from)
  try {
    const file = require.resolve('express')
    return { file, version: versionOf(require) }
  } catch {
    return undefined
  }
}

function versionOf(require: NodeJS.Require): string | undefined {
  try {
    return String(require('express/package.json').version)
  } catch {
    return undefined
  }
}

/** @returns what to do if Haraka's HTTP server cannot work with this version */
export function tooOld({ file, version }: Express): string | undefined {
  if (version === undefined) return undefined
  const [major, minor] = version.split('.').map(Number)
  const [oldest, oldestMinor] = OLDEST_EXPRESS
  if (major === undefined || Number.isNaN(major) || major > oldest) return undefined
  if (major === oldest && (minor ?? 0) >= oldestMinor) return undefined
  return (
    `express ${version} (${file}) is too old for Haraka's HTTP server, which needs ` +
    `${OLDEST_EXPRESS.join('.')} or newer; run npm install express in Haraka's folder and restart Haraka`
  )
}
