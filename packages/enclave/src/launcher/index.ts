// What runs an image, for commands that are to begin at once: loads nothing that builds one.
export { DefinitionError } from '../definition/errors.ts'
export { type Inconsistency, parseYamlAs, readYamlFile } from '../definition/strict-yaml.ts'
export { type OpenedImage, openImage } from '../image/verify.ts'
export { type LaunchOptions, type LaunchResult, launch } from './launch.ts'
