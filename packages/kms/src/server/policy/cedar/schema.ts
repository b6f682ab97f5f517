/**
 * What policies may speak of. Attributes with a question mark are there for some kinds of instance
 * only: Cedar has a policy ask `has` before it reads one.
 * @see docs/formats/release-policy.md
 */
export const CEDAR_SCHEMA = `namespace Cloister {
  entity Instance = {
    kind: String,
    tee: String,
    measurement: String,
    tcbStatus: String,
    debug: Bool,
    advisories: Set<String>,
    mrSigner?: String,
    isvProdId?: Long,
    isvSvn?: Long,
    mrTd?: String,
    rtmr0?: String,
    rtmr1?: String,
    rtmr2?: String,
    rtmr3?: String,
    mrConfigId?: String,
    mrOwner?: String,
    mrOwnerConfig?: String,
    mrSeam?: String,
    launchMeasurement?: String,
    hostData?: String,
    idKeyDigest?: String,
    authorKeyDigest?: String,
    platform?: String,
    tcbDate?: Long,
    tcbEvaluationDataNumber?: Long,
  };
  entity Key;
  entity Policy = { releases: Long };
  action release, seal appliesTo {
    principal: [Instance],
    resource: [Key],
    context: {
      datasetId: String,
      jobDigest: String,
      jobTemplates: Set<String>,
      at: Long,
      minuteOfDay: Long,
      weekday: Long,
      releases: Long,
    },
  };
}
`
