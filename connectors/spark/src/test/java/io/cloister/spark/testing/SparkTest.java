package io.cloister.spark.testing;

import io.cloister.spark.fs.TestJobs;
import java.nio.file.Files;
import java.nio.file.Path;
import org.apache.spark.sql.Dataset;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.SparkSession;
import org.apache.spark.sql.functions;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.io.TempDir;

/** Spark in this JVM, and a broker for each test. */
public abstract class SparkTest {
  @TempDir private static Path home;

  protected static SparkSession spark;
  protected static Path eventLog;

  @TempDir protected Path folder;
  protected TestBroker broker;

  @BeforeAll
  static void start() throws Exception {
    eventLog = Files.createDirectory(home.resolve("events"));
    Path scratch = Files.createDirectory(home.resolve("scratch"));
    spark =
        SparkSession.builder()
            .master("local[2,2]")
            .config("spark.ui.enabled", false)
            .config("spark.driver.host", "127.0.0.1")
            .config("spark.driver.bindAddress", "127.0.0.1")
            .config("spark.local.dir", scratch.toString())
            .config("spark.sql.warehouse.dir", scratch.resolve("warehouse").toUri().toString())
            .config("spark.hadoop.fs.defaultFS", "sealed+file:///")
            .config("spark.hadoop.fs.objects.impl", ObjectStore.class.getName())
            .config(
                "spark.hadoop.fs.sealed+objects.impl", "io.cloister.spark.fs.SealedFileSystem")
            .config("spark.sql.shuffle.partitions", 2)
            .config("spark.sql.sources.parallelPartitionDiscovery.threshold", 1000)
            .config("spark.serializer", "org.apache.spark.serializer.KryoSerializer")
            .config("spark.eventLog.enabled", true)
            .config("spark.eventLog.dir", eventLog.toUri().toString())
            .config(
                "spark.sql.sources.commitProtocolClass",
                "io.cloister.spark.commit.SealedCommitProtocol")
            .getOrCreate();
  }

  @AfterAll
  static void stop() {
    spark.stop();
  }

  @BeforeEach
  void startBroker() throws Exception {
    broker = new TestBroker(folder);
  }

  @AfterEach
  void stopBroker() throws Exception {
    broker.close();
  }

  /** Makes the broker's inputs and outputs, as they are now, this JVM's job. */
  protected void startJob() throws Exception {
    TestJobs.use(broker.socket());
  }

  /** 3000 people with names of their own, in so many partitions. */
  protected static Dataset<Row> people(int partitions) {
    return spark
        .range(0, 3000, 1, partitions)
        .select(
            functions.col("id"),
            functions.concat(functions.lit("name-"), functions.col("id")).as("name"),
            functions.pmod(functions.col("id"), functions.lit(3)).cast("string").as("city"));
  }
}
