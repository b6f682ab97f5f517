package io.cloister.spark.cluster;

import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** What has become of executors, as this driver saw it. */
final class Arrivals {
  private static final Logger LOG = LoggerFactory.getLogger(CloisterPlugin.class);
  private static final int LONGEST_REASON = 1000;

  private static final Set<String> ARRIVED = ConcurrentHashMap.newKeySet();
  private static final Set<String> REFUSED = ConcurrentHashMap.newKeySet();
  private static final Set<String> LOST = ConcurrentHashMap.newKeySet();

  private Arrivals() {}

  static void clear() {
    ARRIVED.clear();
    REFUSED.clear();
    LOST.clear();
  }

  /** Its plugin has reported. */
  static void add(String executorId) {
    ARRIVED.add(executorId);
  }

  /** It gets no task, and the driver's log says why. */
  static void refuse(String executorId, String why) {
    REFUSED.add(executorId);
    String line = why.replaceAll("\\p{Cntrl}", " ");
    line = line.substring(0, Math.min(line.length(), LONGEST_REASON));
    LOG.warn("Cloister: executor {} refused: {}", executorId, line);
  }

  /** It is gone, whether it had tasks or not. */
  static void remove(String executorId) {
    if (ARRIVED.contains(executorId) && !REFUSED.contains(executorId)) LOST.add(executorId);
  }

  static boolean has(String executorId) {
    return ARRIVED.contains(executorId);
  }

  static int arrived() {
    return ARRIVED.size();
  }

  static int refused() {
    return REFUSED.size();
  }

  static int lost() {
    return LOST.size();
  }
}
