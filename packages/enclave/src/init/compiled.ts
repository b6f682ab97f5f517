/** The image's folder, below its root, of init and the Node that runs it. */
export const CLOISTER_FOLDER = 'cloister'

/** What stands beside init's first file where init is compiled: its code, and what V8 made of that. */
export const INIT_CODE = 'init.js'
export const INIT_CACHE = 'init.cache'

/**
 * What the code gives when it is run: a function that loads init's modules.
 * @param self - URL of the file that a thread of init begins with.
 */
export type LoadInit = (
  require: NodeJS.Require,
  self: string,
) => { readonly begin: () => Promise<void> }
