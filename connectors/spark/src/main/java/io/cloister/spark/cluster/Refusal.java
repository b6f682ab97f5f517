package io.cloister.spark.cluster;

import java.io.Serializable;

/** Why an executor's plugin lets it take no tasks, as it tells the driver's. */
record Refusal(String executorId, String reason) implements Serializable {}
