package io.cloister.spark.instances;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.apache.hadoop.fs.FileStatus;
import org.apache.hadoop.fs.FileSystem;
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
      case "look" -> look(spark);
      case "hold" -> hold(spark);
      default -> throw new IllegalArgumentException("wanted count, look or hold, seen " + args[0]);
    }
    spark.stop();
  }

  /** Says each task that ended well. */
  private static final class TaskEnds extends SparkListener {
    @Override
    public void onTaskEnd(SparkListenerTaskEnd end) {
      if (end.taskInfo().successful()) say("task");
    }
  }

  private static synchronized void say(String line) {
    System.out.println(line.replace('\n', ' '));
    System.out.flush();
  }

  private static void half(String mark) throws IOException {
    say("half " + filesWith("shuffle_", mark) + " " + filesWith("", mark));
    HOST.readLine();
  }

  /** How many files of this instance's scratch folder are named so and hold the mark. */
  private static long filesWith(String name, String mark) throws IOException {
    try (Stream<Path> files = Files.walk(Path.of("/tmp"))) {
      return files.filter(Files::isRegularFile)
          .filter(file -> file.getFileName().toString().startsWith(name))
          .filter(file -> holds(file, mark))
          .count();
    }
  }

  private static boolean holds(Path file, String mark) {
    try {
      return Files.readString(file, StandardCharsets.ISO_8859_1).contains(mark);
    } catch (IOException gone) {
      return false;
    }
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
    half("Town-");
    people(spark).write().partitionBy("age").mode("overwrite").csv("/out/result/people");
  }

  /** What Spark says of each file, before and after its host did something. */
  private static void look(SparkSession spark) throws IOException {
    org.apache.hadoop.fs.Path folder = new org.apache.hadoop.fs.Path("/in/people");
    FileSystem fs = folder.getFileSystem(spark.sparkContext().hadoopConfiguration());
    List<String> paths =
        Stream.of(fs.listStatus(folder)).map(FileStatus::getPath)
            .map(org.apache.hadoop.fs.Path::toString).toList();
    for (String path : paths) say("before " + found(spark, path));
    half("Town-");
    for (String path : paths) say("after " + found(spark, path));
    say("listed " + fs.listStatus(folder).length);
    spark.range(1).write().csv("/out/result/looked");
  }

  private static String found(SparkSession spark, String path) {
    String name = path.substring(path.lastIndexOf('/') + 1);
    try {
      return name + " " + spark.read().textFile(path).count();
    } catch (Exception failure) {
      return name + " " + Stream.iterate((Throwable) failure, it -> it != null, Throwable::getCause)
          .map(Throwable::getMessage).collect(Collectors.joining("; "));
    }
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
