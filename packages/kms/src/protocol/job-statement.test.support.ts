import type { JobStatement } from './job-statement.ts'

/** A job statement with fixed members, which the documentation shows too. */
export function jobFixture(): JobStatement {
  return {
    version: 1,
    measurement: '00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff',
    command: {
      kind: 'sql',
      queries: [
        { output: 'result', sql: "SELECT count(name) FROM people WHERE job = 'Developer'" },
      ],
    },
    environment: { LANG: 'C.UTF-8' },
    inputs: [
      { name: 'people', datasetId: '000102030405060708090a0b0c0d0e0f', version: 1, format: 'csv' },
    ],
    outputs: [
      {
        name: 'result',
        datasetId: '101112131415161718191a1b1c1d1e1f',
        cmkId: '7f0c2a6e-3b1d-4c5e-8f90-a1b2c3d4e5f6',
        format: 'parquet',
      },
    ],
    resources: { memoryMiB: 512 },
    kms: [
      'MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEaxfR8uEsQkf4vOblY6RA8ncDfYEt6zOg9KE5RdiYwpZP40Li_hp_m47n60p8D54WK84zV2sxXs7LtkBoN79R9Q',
    ],
  }
}
