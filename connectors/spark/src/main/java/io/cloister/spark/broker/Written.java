package io.cloister.spark.broker;

import java.util.List;

/** The parts that a run has committed to an output, after so many commits. */
public record Written(long commits, List<Part> parts) {}
