package io.cloister.spark;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.cloister.spark.broker.Part;
import io.cloister.spark.testing.ObjectStore;
import io.cloister.spark.testing.SparkTest;
import io.cloister.spark.testing.TestBroker;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Base64;
import java.util.HexFormat;
import java.util.Iterator;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.apache.spark.TaskContext;
import org.apache.spark.api.java.function.MapPartitionsFunction;
import org.apache.spark.sql.Dataset;
import org.apache.spark.sql.Encoders;
import org.apache.spark.sql.Row;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Tasks that fail, storage that lies, and a broker that refuses. */
class FaultsIT extends SparkTest {
  private static final String ROWS =
      IntStream.range(0, 5000).mapToObj(i -> i + "\n").collect(Collectors.joining());

  private static byte[] rows() {
    return ROWS.getBytes(StandardCharsets.UTF_8);
  }

  /** The code that a failure names, wherever in its causes. */
  private static String said(Throwable failure) {
    StringBuilder said = new StringBuilder();
    for (Throwable it = failure; it != null; it = it.getCause()) said.append(it).append('\n');
    return said.toString();
  }

  private void assertRefused(String code, Dataset<Row> rows) {
    String said = said(assertThrows(Exception.class, rows::collectAsList));
    assertTrue(said.contains(code + ": "), said);
  }

  /** Rows whose first attempts fail after some have been written. */
  private static Dataset<String> failing(int attempts) {
    MapPartitionsFunction<Long, String> fail =
        ids -> {
          AtomicInteger seen = new AtomicInteger();
          boolean fails = TaskContext.get().attemptNumber() < attempts;
          Iterator<Long> it = ids;
          return new Iterator<String>() {
            @Override
            public boolean hasNext() {
              return it.hasNext();
            }

            @Override
            public String next() {
              if (fails && seen.incrementAndGet() > 1000) throw new IllegalStateException("fails");
              return "row " + it.next();
            }
          };
        };
    return spark.range(0, 6000, 1, 2).mapPartitions(fail, Encoders.STRING());
  }

  /** Waits for tasks that are being ended while the driver says that the job failed. */
  private static void assertSoonEmpty(TestBroker.Output output) throws Exception {
    for (int i = 0; i < 100 && !output.filesInFolder().isEmpty(); i++) Thread.sleep(100);
    assertEquals(List.of(), output.filesInFolder());
  }

  @Test
  void leavesNothingOfAnAttemptThatFailed() throws Exception {
    TestBroker.Output output = broker.output("result", "text/plain");
    startJob();
    failing(1).write().text(output.sealedPath());
    assertEquals(2, output.committed.size());
    List<String> names = output.committed.stream().map(Part::name).sorted().toList();
    assertEquals(names, output.filesInFolder());
    long lines = 0;
    for (byte[] file : output.plaintexts().values()) {
      lines += new String(file, StandardCharsets.UTF_8).lines().count();
    }
    assertEquals(6000, lines);
  }

  @Test
  void commitsNothingOfAJobThatFailed() throws Exception {
    TestBroker.Output output = broker.output("result", "text/plain");
    startJob();
    assertThrows(Exception.class, () -> failing(9).write().text(output.sealedPath()));
    assertEquals(List.of(), output.modes);
    assertSoonEmpty(output);
  }

  /** The storage refuses a file that is there already. */
  @Test
  void leavesNothingOfATaskWhoseFirstFileFails() throws Exception {
    broker.storedIn(ObjectStore.SCHEME);
    TestBroker.Output output = broker.output("result", "text/plain");
    startJob();
    ObjectStore.failsAfterCreating = true;
    try {
      Exception failure =
          assertThrows(Exception.class, () -> failing(0).write().text(output.sealedPath()));
      assertTrue(said(failure).contains("fails after creating"), said(failure));
    } finally {
      ObjectStore.failsAfterCreating = false;
    }
    assertSoonEmpty(output);
    assertEquals(List.of(), output.modes);
  }

  @Test
  void commitsNothingOfAJobThatIsKilled() throws Exception {
    TestBroker.Output output = broker.output("result", "text/plain");
    startJob();
    MapPartitionsFunction<Long, String> slow =
        ids -> Stream.generate(() -> {
              try {
                Thread.sleep(5);
              } catch (InterruptedException killed) {
                throw new IllegalStateException(killed);
              }
              // As Spark's own readers do: an interrupt alone can get lost.
              if (TaskContext.get().isInterrupted()) throw new IllegalStateException("killed");
              return "row";
            }).iterator();
    CompletableFuture<Exception> failure = new CompletableFuture<>();
    Thread writing =
        new Thread(
            () -> {
              spark.sparkContext().setJobGroup("killed", "killed", true);
              try {
                spark.range(0, 2, 1, 2).mapPartitions(slow, Encoders.STRING())
                    .write().text(output.sealedPath());
                failure.complete(null);
              } catch (Exception killed) {
                failure.complete(killed);
              }
            });
    writing.start();
    while (output.filesInFolder().size() < 2) Thread.sleep(10);
    spark.sparkContext().cancelJobGroup("killed");
    assertTrue(said(failure.get()).contains("cancelled"), said(failure.get()));
    assertSoonEmpty(output);
    assertEquals(List.of(), output.modes);
  }

  @Test
  void failsTheJobWhoseCommitTheBrokerRefuses() throws Exception {
    TestBroker.Output output = broker.output("result", "text/plain");
    broker.refuseCommits();
    startJob();
    Exception failure =
        assertThrows(Exception.class, () -> failing(0).write().text(output.sealedPath()));
    assertTrue(said(failure).contains("PART: "), said(failure));
    assertEquals(List.of(), output.filesInFolder());
  }

  @Test
  void refusesToWriteWithoutTheCommitProtocol() throws Exception {
    TestBroker.Output output = broker.output("result", "text/plain");
    startJob();
    String ours = spark.conf().get("spark.sql.sources.commitProtocolClass");
    spark.conf().set(
        "spark.sql.sources.commitProtocolClass",
        "org.apache.spark.sql.execution.datasources.SQLHadoopMapReduceCommitProtocol");
    try {
      Exception failure =
          assertThrows(Exception.class, () -> failing(0).write().text(output.sealedPath()));
      assertTrue(said(failure).contains("SealedCommitProtocol"), said(failure));
      assertEquals(List.of(), output.filesInFolder());
    } finally {
      spark.conf().set("spark.sql.sources.commitProtocolClass", ours);
    }
  }

  @ParameterizedTest
  @ValueSource(booleans = {false, true})
  void neverSkipsWhatIsNotAuthentic(boolean lenient) throws Exception {
    TestBroker.Input input = broker.input("rows", "text/csv");
    Part part = input.add("rows.csv", rows());
    input.add("more.csv", rows());
    startJob();
    Dataset<Row> read = read(input, lenient);
    assertEquals(10_000, read.count());

    byte[] whole = Files.readAllBytes(input.file(part));
    byte[] flipped = whole.clone();
    flipped[4096 + 2 * 4096 + 100] ^= 1;
    Files.write(input.file(part), flipped);
    assertRefused("TAG", read);

    byte[] swapped = whole.clone();
    System.arraycopy(whole, 4096 + 4096, swapped, 4096 + 2 * 4096, 4096);
    System.arraycopy(whole, 4096 + 2 * 4096, swapped, 4096 + 4096, 4096);
    Files.write(input.file(part), swapped);
    assertRefused("TAG", read);

    Files.write(input.file(part), java.util.Arrays.copyOf(whole, 4096 + 3 * 4096));
    assertRefused("PART_CHANGED", read);

    Files.delete(input.file(part));
    assertRefused("PART_MISSING", read);

    Files.createDirectory(input.file(part));
    assertRefused("PART_MISSING", read);
  }

  @ParameterizedTest
  @ValueSource(strings = {"csv", "json", "text", "orc", "parquet"})
  void neverSkipsWhatTheKeyServiceRefuses(String format) throws Exception {
    TestBroker.Output output = broker.output("result", "application/octet-stream");
    startJob();
    Dataset<Row> rows = spark.range(0, 1000, 1, 2).selectExpr("string(id) as value");
    rows.write().format(format).save(output.sealedPath());
    TestBroker.Input input = output.asInput("again");
    startJob();
    Dataset<Row> read =
        spark.read().format(format).schema("value string").option("ignoreCorruptFiles", true)
            .option("ignoreMissingFiles", true).load(input.sealedPath());
    assertEquals(1000, read.count());
    broker.deny(input.parts.get(1).fileId());
    assertRefused("DENIED", read);
  }

  /** Readers of columns wrap what they are thrown, and Spark looks at the outermost alone. */
  @ParameterizedTest
  @ValueSource(strings = {"csv", "json", "text", "orc", "parquet"})
  void neverSkipsTheRestOfAnAlteredFile(String format) throws Exception {
    TestBroker.Output output = broker.output("result", "application/octet-stream");
    startJob();
    spark.range(0, 20_000, 1, 1).selectExpr("sha2(string(id), 256) as value")
        .write().format(format).save(output.sealedPath());
    TestBroker.Input input = output.asInput("again");
    startJob();
    Dataset<Row> read =
        spark.read().format(format).schema("value string").option("ignoreCorruptFiles", true)
            .option("ignoreMissingFiles", true).load(input.sealedPath());
    assertEquals(20_000, read.count());
    Path file = input.file(input.parts.get(0));
    byte[] whole = Files.readAllBytes(file);
    for (int tenth = 0; tenth < 10; tenth++) {
      byte[] altered = whole.clone();
      altered[4096 + (whole.length - 4096) / 10 * tenth + 100] ^= 1;
      Files.write(file, altered);
      assertRefused("TAG", read);
    }
  }

  /** Spark's second kind of sources, which decides by itself what to skip and how to commit. */
  @ParameterizedTest
  @ValueSource(strings = {"csv", "orc", "parquet"})
  void holdsForSourcesOfTheSecondVersion(String format) throws Exception {
    TestBroker.Output output = broker.output("result", "application/octet-stream");
    startJob();
    spark.conf().set("spark.sql.sources.useV1SourceList", "");
    spark.conf().set("spark.sql.files.ignoreCorruptFiles", true);
    try {
      spark.range(0, 20_000, 1, 2).selectExpr("sha2(string(id), 256) as value")
          .write().format(format).mode("append")
          .save(output.sealedPath().substring("sealed+file:".length()));
      assertEquals(2, output.committed.size());
      TestBroker.Input input = output.asInput("again");
      startJob();
      Dataset<Row> read =
          spark.read().format(format).schema("value string").load(input.sealedPath());
      assertEquals(20_000, read.count());
      alter(input.file(input.parts.get(0)), 3);
      assertRefused("TAG", read);
    } finally {
      spark.conf().unset("spark.sql.sources.useV1SourceList");
      spark.conf().unset("spark.sql.files.ignoreCorruptFiles");
    }
  }

  private static void alter(Path file, int tenth) throws Exception {
    byte[] altered = Files.readAllBytes(file);
    altered[4096 + (altered.length - 4096) / 10 * tenth + 100] ^= 1;
    Files.write(file, altered);
  }

  @ParameterizedTest
  @ValueSource(strings = {"csv", "json", "orc", "parquet"})
  void neverInfersASchemaFromWhatIsLeft(String format) throws Exception {
    TestBroker.Output output = broker.output("result", "application/octet-stream");
    startJob();
    spark.range(0, 20_000, 1, 1).selectExpr("sha2(string(id), 256) as value")
        .write().format(format).save(output.sealedPath());
    TestBroker.Input input = output.asInput("again");
    startJob();
    Path file = input.file(input.parts.get(0));
    byte[] altered = Files.readAllBytes(file);
    altered[altered.length - 100] ^= 1;
    Files.write(file, altered);
    Exception failure =
        assertThrows(
            Exception.class,
            () ->
                spark.read().format(format).option("ignoreCorruptFiles", true)
                    .option("inferSchema", true).load(input.sealedPath()).collectAsList());
    assertTrue(said(failure).contains("TAG: "), said(failure));
  }

  private Dataset<Row> read(TestBroker.Input input, boolean lenient) {
    return spark.read().schema("id int").option("ignoreCorruptFiles", lenient)
        .option("ignoreMissingFiles", lenient).csv(input.sealedPath());
  }

  @Test
  void failsWhenTheBrokerIsGone() throws Exception {
    TestBroker.Input input = broker.input("rows", "text/csv");
    input.add("rows.csv", rows());
    startJob();
    Dataset<Row> read = read(input, true);
    broker.close();
    assertRefused("UNAVAILABLE", read);
  }

  @Test
  void leavesNoKeyAndNoPlaintextBehind() throws Exception {
    TestBroker.Input input = broker.input("rows", "text/csv");
    input.add("rows.csv", "canary-of-plaintext\n".repeat(5000).getBytes(StandardCharsets.UTF_8));
    TestBroker.Output output = broker.output("result", "text/plain");
    startJob();
    spark.read().textFile(input.sealedPath()).repartition(3).write().text(output.sealedPath());

    assertEquals(4, broker.keys().size());
    String configuration = spark.sparkContext().getConf().toDebugString();
    StringBuilder hadoop = new StringBuilder();
    spark.sparkContext().hadoopConfiguration()
        .forEach(it -> hadoop.append(it.getKey()).append('=').append(it.getValue()).append('\n'));
    for (byte[] key : broker.keys()) {
      for (String text : List.of(
          HexFormat.of().formatHex(key), Base64.getEncoder().encodeToString(key),
          Base64.getUrlEncoder().withoutPadding().encodeToString(key),
          new String(key, StandardCharsets.ISO_8859_1))) {
        assertFalse(configuration.contains(text));
        assertFalse(hadoop.toString().contains(text));
        for (Path root : List.of(eventLog, folder)) assertNowhere(text, root);
      }
    }
    assertNowhere("canary-of-plaintext", folder);
  }

  private static void assertNowhere(String text, Path root) throws Exception {
    try (Stream<Path> files = Files.walk(root)) {
      for (Path file : files.filter(Files::isRegularFile).toList()) {
        String bytes = new String(Files.readAllBytes(file), StandardCharsets.ISO_8859_1);
        assertFalse(bytes.contains(text), () -> file + " has " + text.length() + " secret bytes");
      }
    }
  }
}
