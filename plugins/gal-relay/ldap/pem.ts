// Says in words what is wrong with a file of certificates or a key. Node treats one that it cannot
// parse as an empty set of trusted CAs, or reports an ASN.1 error.

const ONE_LINE = /-----BEGIN [A-Z0-9 ]+-----[ \t]*[A-Za-z0-9+/]/
const DER = 0x30

/**
 * @param bytes the content of the file
 * @param file its name, for the command that repairs it
 * @param wanted what the file should contain
 * @returns what is wrong and how to repair it; `undefined` if it looks right
 */
export function pemProblem(
  bytes: Buffer,
  file: string,
  wanted: 'CERTIFICATE' | 'PRIVATE KEY',
): string | undefined {
  const text = bytes.toString('latin1')
  if (text.trim() === '') return 'is empty'
  if (bytes[0] === DER) {
    const program = wanted === 'CERTIFICATE' ? 'x509' : 'pkey'
    return `is in DER, not PEM: openssl ${program} -inform der -in ${file} -out ${file}.pem`
  }
  if (/-----BEGIN PKCS ?#?7-----/.test(text)) {
    return `contains PKCS#7, not certificates: openssl pkcs7 -print_certs -in ${file} -out ${file}.pem`
  }
  if (!new RegExp(`-----BEGIN [A-Z0-9 ]*${wanted}-----`).test(text)) {
    return `contains no ${wanted.toLowerCase()} in PEM (-----BEGIN ${wanted}-----)`
  }
  if (ONE_LINE.test(text)) {
    return 'is all on one line; -----BEGIN and -----END must be on lines of their own'
  }
  return undefined
}
