declare const brand: unique symbol

/** A value that only the function that proved something about it can make. */
export type Brand<T, Name extends string> = T & { readonly [brand]: Name }
