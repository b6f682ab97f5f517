import { RuleError } from './errors.ts'

/**
 * Names that make loaders, interpreters and run-times load or do something else than the image
 * says. Nobody outside may set them, whatever a definition or a job says.
 */
const FORBIDDEN: readonly RegExp[] = [
  // ld.so(8), and what glibc reads of itself: locale, conversion, resolver and tunable files.
  /^LD_/,
  /^(?:GCONV_PATH|GETCONF_DIR|GLIBC_TUNABLES|HOSTALIASES|LOCALDOMAIN|LOCPATH|NIS_PATH|NLSPATH|RES_OPTIONS|RESOLV_HOST_CONF|TZDIR)$/,
  /^(?:MALLOC_|DYLD_)/,
  /^(?:NODE_|NPM_|BUN_|DENO_)/,
  /^PYTHON/,
  /^(?:JAVA_|JDK_|_JAVA_OPTIONS$|CLASSPATH$|JVM_|MAVEN_OPTS$)/,
  /^(?:SPARK_|PYSPARK_|HADOOP_)/,
  /^(?:PERL|RUBY|GEM_|BUNDLE_|LUA_|PHP|R_|GUILE_)/,
  /^(?:BASH_ENV|BASHOPTS|BASH_FUNC_.*|CDPATH|ENV|FPATH|GLOBIGNORE|IFS|PATH|PROMPT_COMMAND|PS4|SHELLOPTS|ZDOTDIR)$/,
  /^(?:OPENSSL_|SSL_CERT_|SSLKEYLOGFILE$|CURL_CA_BUNDLE$|REQUESTS_CA_BUNDLE$|GIT_)/,
  /^(?:HOME|TMPDIR|TEMP|TMP|USER|LOGNAME|SHELL)$/,
  // Ours.
  /^CLOISTER_/,
]

/** Whether nobody outside may set an environment variable of that name. */
export function isForbiddenVariable(name: string): boolean {
  // Windows-born programs and some run-times do not mind the case.
  const upper = name.toUpperCase()
  return FORBIDDEN.some(pattern => pattern.test(name) || pattern.test(upper))
}

/** What an image says about its program's environment. */
export interface EnvironmentRules {
  /** Measured values. */
  readonly environment: Readonly<Record<string, string>>
  /** Names that a job may set. */
  readonly environmentFromJob: readonly string[]
}

/**
 * The program's environment: what was measured, and of the job's what the image allows.
 * @throws RuleError when the job sets a name that it may not set
 */
export function environmentOf(
  { environment, environmentFromJob }: EnvironmentRules,
  fromJob: Readonly<Record<string, string>>,
): Readonly<Record<string, string>> {
  for (const name of Object.keys(fromJob)) {
    if (isForbiddenVariable(name)) {
      throw new RuleError('ENVIRONMENT', `environment: ${name} may not be set from outside, ever`)
    }
    if (Object.hasOwn(environment, name)) {
      throw new RuleError(
        'ENVIRONMENT',
        `environment: ${name} is measured, a job may not change it`,
      )
    }
    if (!environmentFromJob.includes(name)) {
      const wanted = environmentFromJob.join(', ') || 'none'
      throw new RuleError('ENVIRONMENT', `environment: a job may set ${wanted}; seen ${name}`)
    }
  }
  return { ...fromJob, ...environment }
}
