package io.cloister.spark.cluster;

import io.cloister.spark.broker.Run;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.apache.spark.SparkConf;

/** What has to be set for Spark to be several instances; each thing that is not is told. */
final class Settings {
  private final SparkConf conf;
  private final List<String> faults = new ArrayList<>();

  private Settings(SparkConf conf) {
    this.conf = conf;
  }

  /** Refuses a driver whose settings let it be reached, or spill, elsewhere than it should. */
  static void requireForDriver(SparkConf conf, Instance instance) {
    Run run = instance.run();
    Settings settings = new Settings(conf);
    settings.requireScratch(instance.scratchFolder());
    if (run.role() == Run.Role.DRIVER) {
      // A program that names another has the driver do all of the work, and executors wait for it.
      settings.require("spark.master", CloisterClusterManager.MASTER);
      settings.require("spark.plugins", CloisterPlugin.class.getName());
      settings.require("spark.driver.host", run.driver());
      settings.require("spark.driver.bindAddress", run.driver(), run.driver());
      settings.requirePort("spark.driver.port", run.ports());
      settings.requirePort("spark.blockManager.port", run.ports());
      settings.requirePort(
          "spark.driver.blockManager.port", run.ports(),
          conf.get("spark.blockManager.port", "unset"));
      // Another port than the first is nobody's, and Spark would try the next ones.
      settings.require("spark.port.maxRetries", "0");
      settings.require("spark.shuffle.service.enabled", "false", "false");
      settings.require("spark.dynamicAllocation.enabled", "false", "false");
      // Init protects what instances say to each other. Executors have no secret of Spark's, and would
      // call a driver that wants one, or TLS, until the job is ended.
      settings.require("spark.authenticate", "false", "false");
      settings.require("spark.ssl.rpc.enabled", "false", "false");
    }
    settings.refuse();
  }

  /** Refuses an executor that would spill elsewhere than it should. */
  static void requireForExecutor(SparkConf conf, Instance instance) {
    Settings settings = new Settings(conf);
    settings.requireScratch(instance.scratchFolder());
    settings.refuse();
  }

  private void requireScratch(String scratchFolder) {
    Path scratch = Path.of(scratchFolder);
    for (String folder : conf.get("spark.local.dir", "/tmp").split(",")) {
      if (Path.of(folder.trim()).normalize().startsWith(scratch)) continue;
      faults.add("spark.local.dir: wanted a folder in " + scratch + ", seen " + folder);
    }
    for (String variable : List.of("SPARK_LOCAL_DIRS", "LOCAL_DIRS")) {
      if (System.getenv(variable) != null) faults.add(variable + ": wanted unset, seen a value");
    }
  }

  private void require(String name, String wanted) {
    require(name, wanted, "unset");
  }

  private void require(String name, String wanted, String unless) {
    String seen = conf.get(name, unless);
    if (!seen.equals(wanted)) faults.add(name + ": wanted " + wanted + ", seen " + seen);
  }

  private void requirePort(String name, List<Integer> ports) {
    requirePort(name, ports, "unset");
  }

  private void requirePort(String name, List<Integer> ports, String unless) {
    String seen = conf.get(name, unless);
    if (ports.stream().anyMatch(port -> seen.equals(port.toString()))) return;
    faults.add(name + ": wanted one of the image's " + ports + ", seen " + seen);
  }

  private void refuse() {
    if (faults.isEmpty()) return;
    throw new IllegalStateException("Cloister refuses these settings: " + String.join("; ", faults));
  }
}
