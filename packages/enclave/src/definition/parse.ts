import { dirname, resolve } from 'node:path'
import { inconsistencies } from './consistency.ts'
import { type EnclaveDefinition, EnclaveDefinitionSchema } from './schema.ts'
import { parseYamlAs, readYamlFile } from './strict-yaml.ts'

/**
 * Reads an enclave definition.
 * @param text - YAML.
 * @param name - Its file's name, for messages.
 * @throws DefinitionError, with line and column, and the nearest word for an unknown field.
 */
export function parseDefinition(text: string, name = 'enclave.yaml'): EnclaveDefinition {
  return parseYamlAs(text, name, EnclaveDefinitionSchema, inconsistencies)
}

/** A definition and the folder that its paths are relative to. */
export interface DefinitionFile {
  readonly definition: EnclaveDefinition
  readonly baseDir: string
}

/**
 * Reads an enclave definition from a file.
 * @throws DefinitionError
 */
export async function readDefinition(path: string): Promise<DefinitionFile> {
  const definition = parseDefinition(await readYamlFile(path), path)
  return { definition, baseDir: dirname(resolve(path)) }
}
