// Certificates for a test: a CA and the certificates that it signs, made with openssl in a temporary folder.
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** PEM files. */
export interface Certificate {
  readonly cert: string
  readonly key: string
}

export interface CertificateOptions {
  /** `IP:127.0.0.1`, `DNS:dc.corp.test`; default 127.0.0.1 and localhost */
  readonly names?: readonly string[]
  /** It expired yesterday. */
  readonly isExpired?: boolean
  /** It is signed by itself instead of the CA. */
  readonly isSelfSigned?: boolean
}

export interface CertificateAuthority {
  /** PEM file */
  readonly ca: string
  issue(options?: CertificateOptions): Certificate
  /** Removes all of its files. */
  remove(): void
}

export function makeAuthority(): CertificateAuthority {
  const folder = mkdtempSync(join(tmpdir(), 'certificates-'))
  const path = (name: string) => join(folder, name)
  const openssl = (...args: string[]) =>
    execFileSync('openssl', args, { stdio: 'pipe', cwd: folder })
  const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes']
  const ca = { cert: path('ca.pem'), key: path('ca.key') }
  openssl(
    ...['req', '-x509', ...newKey, '-days', '2', '-subj', '/CN=Test CA'],
    ...['-keyout', ca.key, '-out', ca.cert],
  )
  let count = 0
  return {
    ca: ca.cert,
    issue({ names = ['IP:127.0.0.1', 'DNS:localhost'], isExpired, isSelfSigned } = {}) {
      const name = `issued${++count}`
      const [cert, key, request] = [path(`${name}.pem`), path(`${name}.key`), path(`${name}.csr`)]
      const extensions = path(`${name}.ext`)
      writeFileSync(extensions, `subjectAltName = ${names.join(', ')}\n`)
      openssl('req', '-new', ...newKey, '-subj', `/CN=${name}`, '-keyout', key, '-out', request)
      const signer = isSelfSigned
        ? ['-signkey', key]
        : ['-CA', ca.cert, '-CAkey', ca.key, '-CAcreateserial']
      const days = isExpired ? '-1' : '2'
      openssl(
        ...['x509', '-req', '-in', request, ...signer, '-days', days],
        ...['-extfile', extensions, '-out', cert],
      )
      return { cert, key }
    },
    remove: () => rmSync(folder, { recursive: true, force: true }),
  }
}
