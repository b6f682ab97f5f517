package io.cloister.spark.cluster;

import static org.junit.jupiter.api.Assertions.assertDoesNotThrow;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.cloister.spark.broker.Run;
import java.util.List;
import org.apache.spark.SparkConf;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class SettingsTest {
  private static final Instance DRIVER =
      new Instance(
          new Run(
              Run.Role.DRIVER, "driver", "00".repeat(16), 2, List.of(7078, 7079), "127.1.0.1",
              "127.1.0.1"),
          "/tmp");

  private static SparkConf good() {
    return new SparkConf(false)
        .set("spark.master", "spark-cloister")
        .set("spark.plugins", "io.cloister.spark.cluster.CloisterPlugin")
        .set("spark.driver.host", "127.1.0.1")
        .set("spark.driver.port", "7078")
        .set("spark.blockManager.port", "7079")
        .set("spark.port.maxRetries", "0")
        .set("spark.local.dir", "/tmp/spark,/tmp");
  }

  @Test
  void takesWhatTheExampleHas() {
    assertDoesNotThrow(() -> Settings.requireForDriver(good(), DRIVER));
  }

  @ParameterizedTest
  @CsvSource({
    "spark.master, local[4]",
    "spark.plugins, other.Plugin",
    "spark.driver.host, 10.0.0.1",
    "spark.driver.bindAddress, 0.0.0.0",
    "spark.driver.port, 0",
    "spark.blockManager.port, 7080",
    "spark.driver.blockManager.port, 1",
    "spark.port.maxRetries, 16",
    "spark.local.dir, /tmp/../var",
    "spark.local.dir, '/tmp,/var'",
    "spark.shuffle.service.enabled, true",
    "spark.dynamicAllocation.enabled, true",
    "spark.authenticate, true",
    "spark.ssl.rpc.enabled, true",
  })
  void namesWhatIsOtherwise(String name, String value) {
    SparkConf conf = good().set(name, value);
    Exception refusal =
        assertThrows(
            IllegalStateException.class, () -> Settings.requireForDriver(conf, DRIVER));
    assertTrue(refusal.getMessage().contains(name + ": wanted "), refusal.getMessage());
  }

  @Test
  void wantsScratchOfInstancesThatAreAloneToo() {
    Instance alone =
        new Instance(new Run(Run.Role.ALONE, "", "", 0, List.of(), "", ""), "/tmp");
    assertDoesNotThrow(() -> Settings.requireForDriver(new SparkConf(false), alone));
    SparkConf conf = new SparkConf(false).set("spark.local.dir", "/var");
    assertThrows(IllegalStateException.class, () -> Settings.requireForDriver(conf, alone));
  }
}
