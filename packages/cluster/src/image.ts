/** The user of deploy/image/Dockerfile, and its group. */
export const IMAGE_USER = 10001

/** Memory for the launcher, and what it keeps beside the instance. */
export const LAUNCHER_MIB = 512
