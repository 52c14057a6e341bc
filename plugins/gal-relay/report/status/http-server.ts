// Whether Haraka's own HTTP server can run, and what to do when it cannot. Haraka starts it when
// config/http.ini has `listen` and the express package is to be found.
import { createRequire } from 'node:module'

/**
 * @param httpIni config/http.ini as Haraka reads it
 * @returns what is missing and how to mend it, or undefined
 */
export function missingHttpServer(
  httpIni: Readonly<Record<string, Readonly<Record<string, unknown>> | undefined>>,
): string | undefined {
  if (!httpIni.main?.listen) {
    return (
      'config/http.ini has no address for it; write listen=127.0.0.1:8080 there, with an address ' +
      'and port of your choice, and restart Haraka'
    )
  }
  try {
    createRequire(process.argv[1] ?? __filename).resolve('express')
  } catch {
    return (
      "Haraka's HTTP server needs the package express, which is not installed; run npm install " +
      "express in Haraka's folder and restart Haraka"
    )
  }
  return undefined
}
