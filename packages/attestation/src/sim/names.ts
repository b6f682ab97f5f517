/**
 * QE vendor id of the simulated quoting enclave: the ASCII text `cloister-sim-qe1`, 16 bytes. No
 * quoting enclave of hardware bears it, so a verifier that pins no simulated root refuses a
 * simulated quote by its header alone.
 */
export const SIM_QE_VENDOR_ID: Uint8Array = new TextEncoder().encode('cloister-sim-qe1')

/** Common names of a simulated platform's certificates; none of them passes for a vendor's. */
export const SIM_NAMES = {
  root: 'Cloister Simulated SGX Root CA',
  platformCa: 'Cloister Simulated SGX PCK Platform CA',
  tcbSigning: 'Cloister Simulated SGX TCB Signing',
  pck: 'Cloister Simulated SGX PCK Certificate',
} as const
