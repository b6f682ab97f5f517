package io.cloister.spark.stores;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.cloister.spark.broker.Part;
import io.cloister.spark.testing.SparkTest;
import io.cloister.spark.testing.TestBroker;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.FSDataInputStream;
import org.apache.hadoop.fs.FSDataOutputStream;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.Path;
import org.apache.spark.TaskContext;
import org.apache.spark.api.java.function.MapFunction;
import org.apache.spark.sql.Dataset;
import org.apache.spark.sql.Encoders;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.functions;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** What holds in any store of Hadoop's: there is nothing but reading, writing whole files and removing them. */
abstract class StoreTest extends SparkTest {
  private static final int ROWS = 6000;

  private FileSystem store;

  /** Settings by which Hadoop finds the store. */
  abstract void configure(Configuration hadoop);

  /** A file system of Hadoop's own, of which nothing is known to Spark. */
  abstract String uri();

  @BeforeEach
  void useStore() throws Exception {
    Configuration hadoop = spark.sparkContext().hadoopConfiguration();
    configure(hadoop);
    store = FileSystem.get(java.net.URI.create(uri()), hadoop);
    broker.storedIn(store);
  }

  private TestBroker.Input people() throws IOException {
    TestBroker.Input people = broker.input("people", "text/csv");
    for (int file = 0; file < 3; file++) {
      int of = file;
      String rows =
          IntStream.range(0, ROWS).filter(row -> row % 3 == of)
              .mapToObj(row -> row + ",name-" + row + "," + row % 7 + "\n")
              .collect(Collectors.joining());
      people.add("part " + file + ".csv", rows.getBytes(StandardCharsets.UTF_8));
    }
    return people;
  }

  private static Dataset<Row> read(TestBroker.Input people) {
    return spark.read().schema("id int, name string, city string").csv(people.sealedPath());
  }

  private static Set<String> counted(Dataset<Row> rows) {
    return rows.groupBy("city").agg(functions.count("*"), functions.sum("id")).collectAsList()
        .stream().map(Row::toString).collect(Collectors.toCollection(TreeSet::new));
  }

  private long operations(String name) {
    Long count = store.getStorageStatistics().getLong(name);
    return count == null ? 0 : count;
  }

  @Test
  void readsAndWritesWithoutARename() throws Exception {
    TestBroker.Input people = people();
    TestBroker.Output output = broker.output("result", "application/octet-stream");
    startJob();
    long renames = operations("op_rename");
    Set<String> counts = counted(read(people));
    read(people).repartition(3).write().partitionBy("city").parquet(output.sealedPath());
    assertEquals(renames, operations("op_rename"));
    List<String> names = output.committed.stream().map(Part::name).sorted().toList();
    assertTrue(names.size() > 7, names.toString());
    assertEquals(names, output.filesInFolder());

    TestBroker.Input again = output.asInput("again");
    startJob();
    Dataset<Row> written = spark.read().parquet(again.sealedPath());
    assertEquals(7, counts.size());
    assertEquals(counts, counted(written));
    assertEquals(1, written.where("name = 'name-4711'").count());
  }

  @Test
  void leavesNothingOfAnAttemptThatFailed() throws Exception {
    TestBroker.Output output = broker.output("result", "text/plain");
    startJob();
    MapFunction<Long, String> onceFailing =
        id -> {
          if (id % 1500 == 1400 && TaskContext.get().attemptNumber() == 0) {
            throw new IllegalStateException("fails");
          }
          return "row " + id;
        };
    spark.range(0, 3000, 1, 2).map(onceFailing, Encoders.STRING())
        .write().text(output.sealedPath());
    assertEquals(2, output.committed.size());
    assertEquals(
        output.committed.stream().map(Part::name).sorted().toList(), output.filesInFolder());
    long lines = 0;
    for (byte[] file : output.plaintexts().values()) {
      lines += new String(file, StandardCharsets.UTF_8).lines().count();
    }
    assertEquals(3000, lines);
  }

  @Test
  void refusesWhatIsNotAuthentic() throws Exception {
    TestBroker.Input people = people();
    startJob();
    Dataset<Row> rows = read(people);
    assertEquals(ROWS, rows.count());
    Path file = broker.inStore(people.file(people.parts.get(1)));
    byte[] whole;
    try (FSDataInputStream in = store.open(file)) {
      whole = in.readAllBytes();
    }
    byte[] flipped = whole.clone();
    flipped[4096 + 2 * 4096 + 100] ^= 1;
    put(file, flipped);
    assertRefused("TAG", rows);
    put(file, Arrays.copyOf(whole, whole.length - 1));
    assertRefused("PART_CHANGED", rows);
    store.delete(file, false);
    assertRefused("PART_MISSING", rows);
    put(file, whole);
    assertEquals(ROWS, rows.count());
  }

  private void put(Path file, byte[] bytes) throws IOException {
    try (FSDataOutputStream out = store.create(file, true)) {
      out.write(bytes);
    }
  }

  private static void assertRefused(String code, Dataset<Row> rows) {
    StringBuilder said = new StringBuilder();
    Throwable it = assertThrows(Exception.class, rows::collectAsList);
    for (; it != null; it = it.getCause()) said.append(it).append('\n');
    assertTrue(said.toString().contains(code + ": input people, part part-00001-"), said::toString);
  }
}
