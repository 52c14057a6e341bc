// Files of certificates as people have them, and what is said of each.
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { after, before, describe, test } from 'node:test'
import { pemProblem } from '../../plugins/gal-relay/ldap/pem'
import { tlsOptions } from '../../plugins/gal-relay/ldap/tls'
import { LDAP } from '../gal/lists'
import { type CertificateAuthority, makeAuthority } from '../support/certificates'
import { skipWithout } from '../support/programs'

describe('a file of certificates', { skip: skipWithout('openssl') }, () => {
  let authority: CertificateAuthority
  let pem: Buffer
  before(() => {
    authority = makeAuthority()
    pem = readFileSync(authority.ca)
  })
  after(() => authority?.remove())

  const openssl = (...args: string[]) => execFileSync('openssl', args)
  const said = (bytes: Buffer) => pemProblem(bytes, '/etc/ca', 'CERTIFICATE')

  test('is right in PEM, whatever stands around it', () => {
    assert.equal(said(pem), undefined)
    assert.equal(said(Buffer.concat([Buffer.from('# our CA\n'), pem, pem])), undefined)
    assert.equal(said(Buffer.from(pem.toString().replaceAll('\n', '\r\n'))), undefined)
    const { key } = authority.issue()
    assert.equal(pemProblem(readFileSync(key), key, 'PRIVATE KEY'), undefined)
  })

  test('is told what it is instead, and how to mend it', () => {
    const der = openssl('x509', '-in', authority.ca, '-outform', 'der')
    assert.match(said(der) ?? '', /is in DER.*openssl x509 -inform der -in \/etc\/ca/)
    const pkcs7 = openssl('crl2pkcs7', '-nocrl', '-certfile', authority.ca)
    assert.match(said(pkcs7) ?? '', /contains PKCS#7.*openssl pkcs7 -print_certs/)
    assert.match(said(Buffer.from(pem.toString().replaceAll('\n', ''))) ?? '', /all on one line/)
    assert.equal(said(Buffer.from('\n')), 'is empty')
    assert.match(said(Buffer.from('hello')) ?? '', /contains no certificate in PEM/)
    const { key } = authority.issue()
    assert.match(said(readFileSync(key)) ?? '', /contains no certificate in PEM/)
  })

  test('is named with its key when it is used', async () => {
    const { key } = authority.issue()
    await assert.rejects(
      tlsOptions({ ...LDAP, tls_ca: key }, { tls: true, host: 'dc', port: 636, name: 'dc' }),
      /^DirectoryError: tls_ca: .* contains no certificate in PEM/,
    )
  })
})
