package io.cloister.spark.instances;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import org.apache.spark.api.java.function.MapFunction;
import org.apache.spark.scheduler.SparkListener;
import org.apache.spark.scheduler.SparkListenerTaskEnd;
import org.apache.spark.sql.Dataset;
import org.apache.spark.sql.Encoders;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.SparkSession;
import org.apache.spark.sql.functions;

/**
 * What the instances of packages/enclave's tests of Spark run as their driver: a job of two halves
 * that tells its host how far it is, and waits between them for a line of standard input.
 */
public final class JobMain {
  private static final String EVENTS = "/tmp/events";
  private static final BufferedReader HOST =
      new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));

  private JobMain() {}

  public static void main(String[] args) throws Exception {
    Files.createDirectories(Path.of(EVENTS));
    SparkSession spark = SparkSession.builder().appName("instances").getOrCreate();
    spark.sparkContext().addSparkListener(new TaskEnds());
    switch (args[0]) {
      case "count" -> count(spark);
      case "hold" -> hold(spark);
      case "names" -> names(spark);
      case "much" -> much(spark);
      default -> throw new IllegalArgumentException("wanted a job, seen " + args[0]);
    }
    spark.stop();
  }

  /** Says each task that ended well, on which executor, and what it had fetched from others. */
  private static final class TaskEnds extends SparkListener {
    @Override
    public void onTaskEnd(SparkListenerTaskEnd end) {
      if (!end.taskInfo().successful()) return;
      long fetched = end.taskMetrics().shuffleReadMetrics().remoteBytesRead();
      say("task of " + end.taskInfo().executorId() + ": fetched " + fetched);
    }
  }

  private static synchronized void say(String line) {
    System.out.println(line.replace('\n', ' '));
    System.out.flush();
  }

  private static void half() throws IOException {
    say("half");
    HOST.readLine();
  }

  private static Dataset<Row> people(SparkSession spark) {
    return spark.read().schema("name string, age int, town string").csv("/in/people")
        .repartition(4, functions.col("name"));
  }

  /** Pairs of one age and town, by shuffles and a join; then the people themselves, by age. */
  private static void count(SparkSession spark) throws IOException {
    Dataset<Row> people = people(spark);
    Dataset<Row> others = people(spark).toDF("other", "its age", "its town");
    people.join(others, functions.expr("age = `its age` and town = `its town` and name < other"))
        .groupBy("age", "town").count()
        .write().mode("overwrite").csv("/out/result/pairs");
    half();
    people(spark).write().partitionBy("age").mode("overwrite").csv("/out/result/people");
  }

  /** Names alone, in the place where {@link #count} has its people. */
  private static void names(SparkSession spark) throws IOException {
    half();
    people(spark).select("name").write().mode("overwrite").csv("/out/result/people");
  }

  /** Shuffles 2 GiB, which executors keep in their memory. */
  private static void much(SparkSession spark) {
    MapFunction<Long, String> long1k = id -> String.format("%01024d", id);
    spark.range(0, 1 << 21, 1, 8).map(long1k, Encoders.STRING()).repartition(4)
        .write().text("/out/result/much");
  }

  /** Four tasks, of which one never ends: three are committed, and the job cannot be. */
  private static void hold(SparkSession spark) {
    MapFunction<Long, String> slow =
        id -> {
          if (id == 3) Thread.sleep(Long.MAX_VALUE);
          return "Town-" + id;
        };
    spark.range(0, 4, 1, 4).map(slow, Encoders.STRING()).write().text("/out/result/held");
  }
}
