export { type ContainerOf, composeFile, dockerfile } from './backends/docker.ts'
export { BackendError, type BackendErrorCode } from './backends/errors.ts'
export {
  type BuildGramineOptions,
  type BuiltGramine,
  buildGramine,
  type GramineTools,
} from './backends/gramine/build.ts'
export { type GramineJobOptions, runGramineJob } from './backends/gramine/job.ts'
export { signedMeasurement } from './backends/gramine/open.ts'
export { findGraminePal, requireGraminePal } from './backends/gramine/pal.ts'
export { type RunGramineOptions, runGramine } from './backends/gramine/run.ts'
export { type VerifiedGramine, verifyGramine } from './backends/gramine/verify.ts'
export {
  type BuildOcclumOptions,
  type BuiltOcclum,
  buildOcclum,
  inspectOcclum,
} from './backends/occlum/build.ts'
export { type OcclumConfig, parseOcclumConfig } from './backends/occlum/config.ts'
export {
  IMAGE_INTEGRITY,
  type OcclumWeakness,
  occlumWeaknesses,
} from './backends/occlum/weaknesses.ts'
export { commandOf } from './definition/arguments.ts'
export type { ArgumentRule, MeasuredEntry } from './definition/entry.ts'
export { environmentOf, isForbiddenVariable } from './definition/environment.ts'
export {
  DefinitionError,
  type DefinitionErrorCode,
  RuleError,
  type RuleErrorCode,
} from './definition/errors.ts'
export { definitionJsonSchema, SCHEMA_FILE } from './definition/json-schema.ts'
export type { Mounts } from './definition/mounts.ts'
export type { Network } from './definition/network.ts'
export { type DefinitionFile, parseDefinition, readDefinition } from './definition/parse.ts'
export type { Resources } from './definition/resources.ts'
export { type EnclaveDefinition, EnclaveDefinitionSchema } from './definition/schema.ts'
export { ORIGINS_FILE, PROVENANCE_FILE, SBOM_FILE } from './documents/file-names.ts'
export { EnclaveFileError, type EnclaveFileErrorCode } from './enclave-file/errors.ts'
export { measurementFacts } from './enclave-file/facts.ts'
export { type EnclaveFileKind, enclaveFileKind } from './enclave-file/kind.ts'
export {
  type MeasuredEnclave,
  type MeasuredFile,
  type MeasureOptions,
  measureEnclaveFile,
} from './enclave-file/measure.ts'
export {
  openSigningTarget,
  type SignedStatements,
  type SigningTarget,
} from './enclave-file/signing-target.ts'
export {
  type VerifiedEnclave,
  type VerifiedFile,
  verifyEnclaveFile,
} from './enclave-file/verify.ts'
export { type BuildImageOptions, type BuiltImage, buildImage } from './image/build.ts'
export { type BundleOptions, bundle } from './image/bundle.ts'
export {
  diffImages,
  type EntryChange,
  type FieldChange,
  type ImageDifference,
  type PackageChange,
} from './image/diff.ts'
export { examineImage, type ImageFinding } from './image/doctor.ts'
export { ImageError, type ImageErrorCode, type ImageProblem } from './image/errors.ts'
export {
  type Contribution,
  contributions,
  type Explanation,
  explainImage,
} from './image/explain.ts'
export { type ImageSummary, inspectImage } from './image/inspect.ts'
export { loadImage } from './image/load.ts'
export { type ImageEntry, type ImageManifest, MOUNT_POINTS } from './image/manifest.ts'
export { imageAttributes } from './image/pages.ts'
export { isLocked, type LockedPackages } from './image/plan-image.ts'
export {
  type ExpectedImage,
  type OpenedImage,
  openImage,
  type VerifiedImage,
  verifyImage,
} from './image/verify.ts'
export { initModule } from './init/module.ts'
export { INIT_OPTION } from './init/option.ts'
export type { FailureReason, InstanceErrorCode, InstanceFailure } from './instance/failure.ts'
export type {
  DatasetFormat,
  ProgramInput,
  ProgramInputDataset,
  ProgramInputPart,
  ProgramOutput,
  ProgramOutputDataset,
  ProgramOutputPart,
} from './instance/program.ts'
export type { Step } from './instance/status.ts'
export type { InstanceUsage } from './launcher/cgroup/group.ts'
export type { InstanceEnd } from './launcher/ending.ts'
export { LaunchError, type LaunchErrorCode } from './launcher/errors.ts'
export type { LaunchEvent } from './launcher/event.ts'
export { type LimitsHere, limitsHere, systemCallFilterFault } from './launcher/here.ts'
export type { Confinement, Isolation, Lack, Limiter } from './launcher/isolation.ts'
export {
  type LaunchOptions,
  type LaunchResult,
  launch,
} from './launcher/launch.ts'
export {
  type AdvisedResources,
  advisedResources,
  type InstanceProfile,
  profiled,
} from './launcher/profile/profile.ts'
export { parseStoredProfile, type StoredProfile } from './launcher/profile/stored.ts'
export { findBubblewrap, hasSandbox, strongestConfinement } from './launcher/start.ts'
export { LockError, type LockErrorCode } from './lock/errors.ts'
export { findLock, lockPath, readLock, writeLock } from './lock/file.ts'
export { type Artefact, encodeLock, type Lock, parseLock } from './lock/format.ts'
export { type Locked, type LockOptions, lockPackages } from './lock/lock.ts'
export { type ByteSource, bytesSource, fileSource } from './measurement/byte-source.ts'
export { SgxsError, type SgxsErrorCode } from './measurement/errors.ts'
export { measureSgxs, type SgxsMeasurement, SgxsMeasurer } from './measurement/measure.ts'
export { SdkEnclaveError, type SdkEnclaveErrorCode } from './measurement/sdk-elf/errors.ts'
export { measureSdkEnclave, type SdkMeasurement } from './measurement/sdk-elf/measure.ts'
export { MeasurementFileError, type MeasurementFileErrorCode } from './measurement-file/errors.ts'
export {
  type MeasurementExpectations,
  type MeasurementFacts,
  signMeasurementFile,
  type VerifiedMeasurement,
  verifyMeasurementFile,
} from './measurement-file/measurement-file.ts'
export { archivePackage } from './oci/archive.ts'
export { PackageError, type PackageErrorCode } from './oci/errors.ts'
export {
  type BaseImage,
  type PackagedImage,
  type PackageOptions,
  packageImages,
  type WrittenPackage,
} from './oci/package.ts'
export { parsePackageKey, readPackageKey } from './oci/signature.ts'
export { verifyPackage } from './oci/verify.ts'
export { ReceiptError, type ReceiptErrorCode } from './receipt/errors.ts'
export {
  type ReceiptSummary,
  type VerifyReceiptOptions,
  verifyReceipt,
} from './receipt/verify.ts'
export type { SecretNotice } from './secrets/judge.ts'
export {
  appraiseSigstruct,
  assertSecretSigner,
  type SigstructExpectations,
  type SigstructReason,
  type SigstructReasonCode,
} from './sigstruct/appraise.ts'
export { SigstructError, type SigstructErrorCode } from './sigstruct/errors.ts'
export {
  encodeSigstruct,
  parseSigstruct,
  SIGSTRUCT_SIZE,
  type Sigstruct,
  type SigstructFields,
  sigstructSignedBytes,
} from './sigstruct/format.ts'
export {
  createSigningKey,
  type KeyFileOptions,
  modulusOf,
  parseSignerPublicKey,
  readSigningKey,
} from './sigstruct/key.ts'
export {
  attachSignature,
  mrSignerOf,
  signingKeyMrSigner,
  signSigstruct,
  signSigstructBy,
  type VerifiedSigstruct,
  verifySigstruct,
} from './sigstruct/sign.ts'
export { type EnclaveSigner, keySigner } from './sigstruct/signer.ts'
export {
  createSigningKeyInToken,
  type SigningToken,
  tokenSigner,
} from './sigstruct/token-signer.ts'
export { Store } from './store/store.ts'
export {
  lookAtProgram,
  type ProgramLook,
  TEMPLATES,
  type TemplateName,
} from './template/look.ts'
export { type OlderEnvironment, writeDefinition } from './template/write.ts'
