// Whether Haraka's own HTTP server can run, and what to do when it cannot. Haraka starts it when
// config/http.ini has `listen` and the express package is to be found.
import { createRequire } from 'node:module'

type HttpIni = Readonly<Record<string, Readonly<Record<string, unknown>> | undefined>>

/**
 * In Haraka itself.
 * @param httpIni config/http.ini as Haraka reads it
 * @returns what is missing and how to mend it, or undefined
 */
export function missingHttpServer(httpIni: HttpIni): string | undefined {
  // Haraka's program, where symbolic links to it lead.
  return missingAddress(httpIni) ?? missingExpress(require.main?.filename ?? __filename)
}

/** @returns the same, of the address alone */
export function missingAddress(httpIni: HttpIni): string | undefined {
  if (httpIni.main?.listen) return undefined
  return (
    'config/http.ini has no address for it; write listen=127.0.0.1:8080 there, with an address ' +
    'and port of your choice, and restart Haraka'
  )
}

function missingExpress(from: string): string | undefined {
  if (findsExpress(from)) return undefined
  return (
    "Haraka's HTTP server needs the package express, which is not installed; run npm install " +
    "express in Haraka's folder and restart Haraka"
  )
}

/** @param from the file that would load it */
export function findsExpress(from: string): boolean {
  try {
    createRequire(from).resolve('express')
    return true
  } catch {
    return false
  }
}
