package io.cloister.spark.cluster;

import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;

/** Executors whose plugin has reported to this driver. */
final class Arrivals {
  private static final Set<String> EXECUTORS = ConcurrentHashMap.newKeySet();

  private Arrivals() {}

  static void clear() {
    EXECUTORS.clear();
  }

  static void add(String executorId) {
    EXECUTORS.add(executorId);
  }

  static boolean has(String executorId) {
    return EXECUTORS.contains(executorId);
  }

  static int count() {
    return EXECUTORS.size();
  }
}
