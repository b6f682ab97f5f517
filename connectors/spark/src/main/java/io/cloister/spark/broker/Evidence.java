package io.cloister.spark.broker;

/** What the instance was attested as, and by which key service: nothing of it is secret. */
public record Evidence(String tee, String measurement, String jobDigest, String kmsId) {}
