import { splitPemCertificates } from '../x509/pem.ts'
import type { Quote } from './quote.ts'

/**
 * The certificates inside a quote, leaf first, in DER; none when its certification data is of type
 * 1 to 3. Nothing in them is verified.
 * @throws DerError when the PEM is not strict.
 */
export function certificatesInQuote({
  certificationData,
}: Pick<Quote, 'certificationData'>): readonly Uint8Array[] {
  switch (certificationData.type) {
    case 1:
    case 2:
    case 3:
      return []
    case 4:
    case 5:
      return splitPemCertificates(certificationData.data)
  }
}
