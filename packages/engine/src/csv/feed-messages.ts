/** What a feeding thread is told. */
export type FeedOrder =
  | {
      readonly kind: 'feed'
      readonly path: string
      /** 32 secret bytes; the thread zeroes its copy. */
      readonly dek: Uint8Array
      readonly fifo: string
    }
  | { readonly kind: 'let-go' }

/** What a feeding thread answers. After `failed` it holds the pipe until it is told to let go. */
export type FeedAnswer =
  | { readonly kind: 'fed' }
  | {
      readonly kind: 'failed'
      readonly name: string
      readonly code: string
      readonly message: string
    }
  | { readonly kind: 'let-go' }
