import { EnclaveDefinitionSchema } from './schema.ts'

/** Name of the JSON Schema that editors complete definitions by. */
export const SCHEMA_FILE = 'enclave.schema.json'

/**
 * The JSON Schema of `enclave.yaml`, made of the schema that definitions are checked by.
 * @see JSON Schema, draft 7: what YAML language servers read
 */
export function definitionJsonSchema(): object {
  // Once through JSON: what TypeBox keeps for itself under symbols is not written.
  const schema: object = JSON.parse(JSON.stringify(EnclaveDefinitionSchema)) as object
  return {
    $schema: 'http://json-schema.org/draft-07/schema#',
    title: 'enclave.yaml',
    description: 'What goes into an enclave image and what it may do.',
    ...schema,
  }
}
