/** The signed LibOS of an Occlum instance, relative to its folder: the enclave. */
export const SIGNED_LIBOS = 'build/lib/libocclum-libos.signed.so'
