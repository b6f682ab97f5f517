package io.cloister.spark;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.cloister.spark.broker.Run;
import io.cloister.spark.cluster.CloisterPlugin;
import io.cloister.spark.cluster.ExecutorMain;
import io.cloister.spark.cluster.WithoutPlugin;
import io.cloister.spark.fs.TestJobs;
import io.cloister.spark.testing.TestBroker;
import java.io.IOException;
import java.io.StringWriter;
import java.net.ServerSocket;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.TimeUnit;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.apache.logging.log4j.Level;
import org.apache.logging.log4j.LogManager;
import org.apache.logging.log4j.core.Logger;
import org.apache.logging.log4j.core.appender.WriterAppender;
import org.apache.logging.log4j.core.layout.PatternLayout;
import org.apache.spark.SparkEnv;
import org.apache.spark.api.java.function.MapFunction;
import org.apache.spark.scheduler.SparkListener;
import org.apache.spark.scheduler.SparkListenerEnvironmentUpdate;
import org.apache.spark.scheduler.SparkListenerExecutorRemoved;
import org.apache.spark.sql.Dataset;
import org.apache.spark.sql.Encoders;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.SparkSession;
import org.apache.spark.sql.functions;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.MethodOrderer;
import org.junit.jupiter.api.Order;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestMethodOrder;
import org.junit.jupiter.api.io.TempDir;
import scala.jdk.javaapi.CollectionConverters;

/** A driver and executors, in JVMs of their own: what is between instances is another's to test. */
@TestMethodOrder(MethodOrderer.OrderAnnotation.class)
class ClusterIT {
  private static final String RUN_ID = "5a".repeat(16);
  private static final int ROWS = 20_000;

  /** What Spark's driver tells: why the executor without the plugin went, and its environment. */
  public static final class Removals extends SparkListener {
    static final List<String> OF_EXECUTOR_2 = new CopyOnWriteArrayList<>();
    static final Map<String, String> ENVIRONMENT = new ConcurrentHashMap<>();

    @Override
    public void onExecutorRemoved(SparkListenerExecutorRemoved removed) {
      if (removed.executorId().equals("2")) OF_EXECUTOR_2.add(removed.reason());
    }

    @Override
    public void onEnvironmentUpdate(SparkListenerEnvironmentUpdate update) {
      var properties = update.environmentDetails().apply("Spark Properties");
      for (var property : CollectionConverters.asJava(properties)) {
        String name = property._1();
        if (name.startsWith("spark.cloister.")) ENVIRONMENT.put(name, property._2());
      }
    }
  }

  @TempDir private static Path folder;
  private static TestBroker broker;
  private static SparkSession spark;
  private static TestBroker.Output output;
  private static List<Integer> ports;
  private static final List<Process> executors = new ArrayList<>();

  private static Run run(int number) {
    String name = number == 0 ? "driver" : "executor-" + number;
    String address = number == 0 ? "127.1.0.1" : "127.1.1." + number;
    Run.Role role = number == 0 ? Run.Role.DRIVER : Run.Role.EXECUTOR;
    return new Run(role, name, RUN_ID, 2, ports, address, "127.1.0.1");
  }

  private static int freePort() throws IOException {
    try (ServerSocket socket = new ServerSocket(0)) {
      return socket.getLocalPort();
    }
  }

  private static Process start(Class<?> main, int number) throws IOException {
    return start(main, number, Map.of());
  }

  private static Process start(Class<?> main, int number, Map<String, String> environment)
      throws IOException {
    List<String> command = new ArrayList<>();
    command.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
    for (String option : System.getProperty("jvm.options").trim().split("\\s+")) {
      command.add(option);
    }
    String classes = System.getProperty("java.class.path");
    command.addAll(List.of("-Xmx512m", "-cp", classes, main.getName()));
    ProcessBuilder builder = new ProcessBuilder(command);
    builder.environment().put("CLOISTER_KEY_BROKER", broker.socket(run(number)).toString());
    builder.environment().putAll(environment);
    Path log = folder.resolve("executor-" + number + ".log");
    builder.redirectErrorStream(true).redirectOutput(log.toFile());
    Process process = builder.start();
    executors.add(process);
    return process;
  }

  @BeforeAll
  static void start() throws Exception {
    ports = List.of(freePort(), freePort());
    broker = new TestBroker(folder);
    TestBroker.Input people = broker.input("people", "text/csv");
    for (int file = 0; file < 4; file++) {
      int from = file * ROWS / 4;
      String rows =
          IntStream.range(from, from + ROWS / 4)
              .mapToObj(row -> row + "," + row % 7 + "\n")
              .collect(Collectors.joining());
      people.add(file + ".csv", rows.getBytes(StandardCharsets.UTF_8));
    }
    output = broker.output("result", "text/csv");
    TestJobs.use(broker.socket(run(0)));
    start(ExecutorMain.class, 1);
    start(WithoutPlugin.class, 2);
    Path scratch = Files.createDirectories(folder.resolve("scratch"));
    spark =
        SparkSession.builder()
            .master("spark-cloister")
            .config("spark.plugins", "io.cloister.spark.cluster.CloisterPlugin")
            .config("spark.driver.host", "127.1.0.1")
            .config("spark.driver.port", ports.get(0).toString())
            .config("spark.blockManager.port", ports.get(1).toString())
            .config("spark.port.maxRetries", 0)
            .config("spark.extraListeners", Removals.class.getName())
            .config("spark.ui.enabled", false)
            .config("spark.local.dir", scratch.toString())
            .config("spark.sql.warehouse.dir", scratch.resolve("warehouse").toUri().toString())
            .config("spark.hadoop.fs.defaultFS", "sealed+file:///")
            .config("spark.sql.shuffle.partitions", 6)
            .config(
                "spark.sql.sources.commitProtocolClass",
                "io.cloister.spark.commit.SealedCommitProtocol")
            .getOrCreate();
  }

  @AfterAll
  static void stop() throws Exception {
    if (spark != null) spark.stop();
    for (Process executor : executors) {
      if (!executor.waitFor(20, TimeUnit.SECONDS)) executor.destroyForcibly();
    }
    broker.close();
  }

  /** What each task says of where it runs, and how long it takes. */
  private static Set<String> executorsAtWork(int tasks, int millis) {
    MapFunction<Long, String> where =
        row -> {
          Thread.sleep(millis);
          return SparkEnv.get().executorId();
        };
    return new TreeSet<>(
        spark.range(0, tasks, 1, tasks).map(where, Encoders.STRING()).collectAsList());
  }

  private static Dataset<Row> counts() {
    return spark.read().csv("sealed+file:" + folder.resolve("in/people"))
        .groupBy("_c1").agg(functions.count("*"), functions.sum("_c0"));
  }

  private static Set<String> expected() {
    Set<String> rows = new TreeSet<>();
    for (int key = 0; key < 7; key++) {
      int of = key;
      int[] members = IntStream.range(0, ROWS).filter(row -> row % 7 == of).toArray();
      rows.add(key + "," + members.length + "," + (double) IntStream.of(members).sum());
    }
    return rows;
  }

  private static Set<String> written() throws IOException {
    Set<String> lines = new TreeSet<>();
    for (byte[] file : output.plaintexts().values()) {
      new String(file, StandardCharsets.UTF_8).lines().forEach(lines::add);
    }
    return lines;
  }

  @Test
  @Order(1)
  void givesNoTaskToAnExecutorWithoutThePlugin() throws Exception {
    assertEquals(Set.of("1"), executorsAtWork(8, 50));
    Process without = executors.get(1);
    assertTrue(without.waitFor(60, TimeUnit.SECONDS));
    String why = "refused: it has not loaded io.cloister.spark.cluster.CloisterPlugin";
    assertEquals(List.of(why), Removals.OF_EXECUTOR_2);
  }

  @Test
  @Order(2)
  void readsAndWritesOnExecutorsAndCommitsOnTheDriver() throws Exception {
    start(ExecutorMain.class, 3);
    for (int tries = 0; !executorsAtWork(8, 300).equals(Set.of("1", "3")); tries++) {
      assertTrue(tries < 30, "executor 3 has not arrived");
    }
    counts().write().mode("overwrite").csv(output.sealedPath());
    assertEquals(expected(), written());
    assertEquals(output.committed.size(), output.filesInFolder().size());
    // Executors read what their driver has committed.
    Dataset<Row> back = spark.read().csv(output.sealedPath());
    Set<String> rows = new TreeSet<>();
    for (Row row : back.repartition(4).collectAsList()) rows.add(row.mkString(","));
    assertEquals(expected(), rows);
  }

  @Test
  @Order(3)
  void comesToTheSameWhenAnExecutorIsKilled() throws Exception {
    MapFunction<Row, String> slowly =
        row -> {
          Thread.sleep(40);
          return row.getString(0);
        };
    Thread killer =
        new Thread(
            () -> {
              try {
                Thread.sleep(1500 + (long) (Math.random() * 1500));
              } catch (InterruptedException ended) {
                return;
              }
              executors.get(2).destroyForcibly();
            });
    killer.start();
    long seen =
        spark.read().csv("sealed+file:" + folder.resolve("in/people")).limit(400).repartition(8)
            .map(slowly, Encoders.STRING()).distinct().count();
    killer.join();
    assertEquals(400, seen);
    assertEquals(Set.of("1"), executorsAtWork(4, 10));
    Set<String> rows = new TreeSet<>();
    for (Row row : counts().collectAsList()) {
      rows.add(row.getString(0) + "," + row.getLong(1) + "," + row.getDouble(2));
    }
    assertEquals(expected(), rows);
  }

  @Test
  @Order(4)
  void tellsWhyAnExecutorRefusesItself() throws Exception {
    StringWriter log = new StringWriter();
    Logger logger = (Logger) LogManager.getLogger(CloisterPlugin.class);
    var layout = PatternLayout.createDefaultLayout();
    var appender = WriterAppender.createAppender(layout, null, log, "here", false, true);
    appender.start();
    logger.addAppender(appender);
    logger.setLevel(Level.WARN);
    try {
      Process badly = start(ExecutorMain.class, 4, Map.of("LOCAL_DIRS", "/var/tmp"));
      assertTrue(badly.waitFor(60, TimeUnit.SECONDS));
    } finally {
      logger.removeAppender(appender);
    }
    String why = "executor 4 refused: Cloister refuses these settings: LOCAL_DIRS: wanted unset";
    assertTrue(log.toString().contains(why), log.toString());
  }

  private static Object metric(String name) {
    return SparkEnv.get().metricsSystem()
        .getSourcesByName("plugin." + CloisterPlugin.class.getName()).head()
        .metricRegistry().getGauges((full, gauge) -> full.endsWith(name))
        .values().iterator().next().getValue();
  }

  @Test
  @Order(5)
  void countsExecutorsAndKeysAndSaysWhatWasAttested() {
    assertEquals(
        List.of(2, 2, 1),
        Stream.of("executorsArrived", "executorsRefused", "executorsLost")
            .map(ClusterIT::metric)
            .toList());
    assertEquals(0L, metric("keysRefused"));
    MapFunction<Long, Long> given = row -> (Long) metric("keysGiven");
    assertTrue(spark.range(0, 1, 1, 1).map(given, Encoders.LONG()).first() > 0);
    assertEquals(
        Map.of(
            "spark.cloister.tee", "sim", "spark.cloister.measurement", "11".repeat(32),
            "spark.cloister.jobDigest", "22".repeat(32), "spark.cloister.kmsId", "33".repeat(32),
            "spark.cloister.runId", RUN_ID),
        Removals.ENVIRONMENT);
  }

  @Test
  @Order(6)
  void hasNoKeyInWhatSparkTellsOfItself() {
    String told = spark.sparkContext().getConf().toDebugString();
    for (byte[] key : broker.keys()) assertFalse(told.contains(HexFormat.of().formatHex(key)));
  }
}
