package io.cloister.spark.broker;

import java.util.List;

/** This instance's place in the job. Of one that is alone, nothing but its role means anything. */
public record Run(
    Role role, String name, String runId, int executors, List<Integer> ports, String address,
    String driver) {
  /** What an instance is there for. */
  public enum Role {
    ALONE,
    DRIVER,
    EXECUTOR
  }

  /** An executor's id, as Spark wants it: a number. */
  public String executorId() {
    return name.replaceFirst("^executor-", "");
  }

  static Run alone() {
    return new Run(Role.ALONE, "", "", 0, List.of(), "", "");
  }
}
