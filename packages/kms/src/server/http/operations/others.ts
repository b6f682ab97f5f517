import { Type } from '@sinclair/typebox'
import { answers, byDatasetId, type Operation, requests } from './operation.ts'

const index = Type.Integer({ minimum: 0, maximum: 999_999_999_999_999 })

/** Calls about datasets. */
const datasetOperations: readonly Operation[] = [
  {
    id: 'GetHead',
    method: 'GET',
    path: '/v1/datasets/:id/head',
    tag: 'datasets',
    summary: 'Where a dataset stands, or null.',
    access: 'account',
    parameters: byDatasetId,
    answer: answers.head,
    refusals: ['NOT_OWNER'],
  },
  {
    id: 'MoveHead',
    method: 'POST',
    path: '/v1/datasets/:id/head',
    tag: 'datasets',
    summary: "Moves a dataset's head from what is expected.",
    access: 'account',
    parameters: byDatasetId,
    request: requests.moveHead,
    answer: answers.head,
    refusals: ['NOT_OWNER', 'HEAD_CONFLICT'],
  },
]

const jwks = {
  method: 'GET',
  tag: 'instances',
  summary: 'The keys that tokens are signed with (RFC 7517).',
  access: 'anyone',
  answer: Type.Object({
    keys: Type.Array(Type.Object({ kty: Type.String(), kid: Type.String() })),
  }),
  refusals: [],
} as const

/** Calls of instances, and of whoever wants to know the service. */
const instanceOperations: readonly Operation[] = [
  {
    id: 'DescribeKms',
    method: 'GET',
    path: '/v1/kms',
    tag: 'instances',
    summary: 'Who the key service is.',
    access: 'anyone',
    answer: answers.kms,
    refusals: [],
  },
  { ...jwks, id: 'GetJwks', path: '/v1/jwks' },
  { ...jwks, id: 'GetWellKnownJwks', path: '/.well-known/jwks.json' },
  {
    id: 'GetOpenApi',
    method: 'GET',
    path: '/v1/openapi.json',
    tag: 'instances',
    summary: 'This document.',
    access: 'anyone',
    answer: Type.Object({ openapi: Type.String() }),
    refusals: [],
  },
  {
    id: 'Challenge',
    method: 'POST',
    path: '/v1/challenge',
    tag: 'instances',
    summary: 'A fresh challenge.',
    access: 'anyone',
    request: requests.challenge,
    answer: answers.challenge,
    refusals: [],
  },
  {
    id: 'Attest',
    method: 'POST',
    path: '/v1/attest',
    tag: 'instances',
    summary: 'Evidence for a token.',
    access: 'instance',
    request: requests.attest,
    answer: answers.attest,
    refusals: [
      'CHALLENGE_EXPIRED',
      'CHALLENGE_INVALID',
      'CHALLENGE_USED',
      'COLLATERAL_UNAVAILABLE',
      'EVIDENCE_INVALID',
      'APPRAISAL_REJECTED',
      'REPORT_DATA_MISMATCH',
      'MEASUREMENT_MISMATCH',
      'WITHDRAWN',
      'WRONG_KMS',
    ],
  },
  {
    id: 'Release',
    method: 'POST',
    path: '/v1/release',
    tag: 'instances',
    summary: 'Data keys for an attested instance: the only way to those of attested-only keys.',
    access: 'instance',
    request: requests.signed,
    answer: answers.statement,
    refusals: [
      'TOKEN_EXPIRED',
      'TOKEN_INVALID',
      'TOKEN_KEY',
      'JOB_MISMATCH',
      'RELEASE_DENIED',
      'REQUEST_REPLAYED',
      'WRONG_KMS',
    ],
  },
  {
    id: 'CommitHeads',
    method: 'POST',
    path: '/v1/heads',
    tag: 'instances',
    summary: "Moves the heads of an attested instance's outputs.",
    access: 'instance',
    request: requests.signed,
    answer: answers.statement,
    refusals: [
      'TOKEN_EXPIRED',
      'TOKEN_INVALID',
      'TOKEN_KEY',
      'JOB_MISMATCH',
      'RELEASE_DENIED',
      'HEAD_CONFLICT',
      'WRONG_KMS',
    ],
  },
]

/** Calls about the audit log. */
const logOperations: readonly Operation[] = [
  {
    id: 'GetCheckpoint',
    method: 'GET',
    path: '/v1/log',
    tag: 'log',
    summary: "The audit log's newest checkpoint, and the proof from an earlier size to it.",
    access: 'anyone',
    query: { from: index },
    answer: answers.log,
    refusals: [],
  },
  {
    id: 'ListLogRows',
    method: 'GET',
    path: '/v1/log/rows',
    tag: 'log',
    summary: 'A page of the log; of rows that do not concern the caller the hashes.',
    access: 'account-or-auditor',
    query: { from: index, size: index },
    answer: answers.logRows,
    refusals: [],
  },
  {
    id: 'ListAuditEntries',
    method: 'GET',
    path: '/v1/audit',
    tag: 'log',
    summary: 'Rows of the audit log that concern the account, after an index.',
    access: 'account',
    query: { after: Type.Integer({ minimum: -1, maximum: 999_999_999_999_999 }) },
    answer: answers.audit,
    refusals: [],
  },
]

/** Calls of parts that have no file of their own here. */
export const otherOperations: readonly Operation[] = [
  ...datasetOperations,
  ...instanceOperations,
  ...logOperations,
]
