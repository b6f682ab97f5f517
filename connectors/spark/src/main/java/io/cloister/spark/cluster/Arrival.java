package io.cloister.spark.cluster;

import java.io.Serializable;

/** What an executor's plugin tells the driver's. */
record Arrival(String executorId, String runId) implements Serializable {}
