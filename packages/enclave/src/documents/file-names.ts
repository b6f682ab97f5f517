/** Names of the documents in an image's folder. */

/** What each file of the image is there for. */
export const ORIGINS_FILE = 'origins.json'

/** CycloneDX. */
export const SBOM_FILE = 'sbom.cdx.json'

/** An in-toto statement. */
export const PROVENANCE_FILE = 'provenance.intoto.json'
