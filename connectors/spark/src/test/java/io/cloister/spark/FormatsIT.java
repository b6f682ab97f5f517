package io.cloister.spark;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.cloister.spark.testing.ObjectStore;
import io.cloister.spark.testing.SparkTest;
import io.cloister.spark.testing.TestBroker;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.apache.spark.sql.Dataset;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.functions;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** What Spark's own sources read and write through sealed files. */
class FormatsIT extends SparkTest {
  private Dataset<Row> numbers(int count) {
    return spark
        .range(0, count, 1, 3)
        .select(
            functions.col("id"),
            functions.concat(functions.lit("name-"), functions.col("id")).as("name"),
            functions.pmod(functions.col("id"), functions.lit(3)).cast("string").as("city"));
  }

  @ParameterizedTest
  @CsvSource({
    "csv, text/csv, none", "csv, text/csv, gzip", "json, application/x-ndjson, none",
    "parquet, application/vnd.apache.parquet, snappy", "orc, application/octet-stream, zstd"
  })
  void readsWhatItWrote(String format, String mediaType, String compression) throws Exception {
    TestBroker.Output output = broker.output("result", mediaType);
    startJob();
    Dataset<Row> rows = numbers(5000);
    rows.write().format(format).option("header", true).option("compression", compression)
        .save(output.sealedPath());
    assertEquals(3, output.committed.size());
    assertEquals(List.of("append"), output.modes);
    assertEquals(3, output.filesInFolder().size());

    TestBroker.Input input = output.asInput("again");
    startJob();
    Dataset<Row> read =
        spark.read().format(format).option("header", true).schema(rows.schema())
            .load(input.sealedPath());
    assertEquals(5000, read.count());
    assertEquals(0, rows.except(read).count());
    assertEquals(1, read.where("id = 4321 and name = 'name-4321'").count());
  }

  @Test
  void readsText() throws Exception {
    TestBroker.Input input = broker.input("lines", "text/plain");
    input.add("a/one.txt", "first\nsecond\n".getBytes(StandardCharsets.UTF_8));
    input.add("b/two.txt", "third".getBytes(StandardCharsets.UTF_8));
    input.add("b/empty.txt", new byte[0]);
    TestBroker.Output output = broker.output("copy", "text/plain");
    startJob();
    Dataset<String> lines = spark.read().textFile(input.sealedPath() + "/*/*.txt");
    assertEquals(List.of("first", "second", "third"), lines.sort("value").collectAsList());
    var sparkContext = spark.sparkContext();
    assertEquals(2, sparkContext.textFile(input.sealedPath() + "/a", 2).count());
    lines.coalesce(1).write().text(output.sealedPath());
    byte[] written = output.plaintexts().values().iterator().next();
    assertEquals("first\nsecond\nthird\n", new String(written, StandardCharsets.UTF_8));
  }

  @ParameterizedTest
  @ValueSource(ints = {256, 4096, 65_536})
  void givesEachRowOnceHoweverAFileIsSplit(int segmentSize) throws Exception {
    String csv = IntStream.range(0, 60_000).mapToObj(i -> i + ",row " + i + "\n")
        .collect(Collectors.joining());
    TestBroker.Input input = broker.input("people", "text/csv");
    input.add("people.csv", csv.getBytes(StandardCharsets.UTF_8), segmentSize);
    startJob();
    spark.conf().set("spark.sql.files.maxPartitionBytes", 30_011);
    spark.conf().set("spark.sql.files.openCostInBytes", 0);
    try {
      Dataset<Row> read = spark.read().schema("id int, text string").csv(input.sealedPath());
      assertTrue(read.rdd().getNumPartitions() > 20);
      Row sums = read.selectExpr("count(*)", "count(distinct id)", "sum(id)").first();
      assertEquals(60_000, sums.getLong(0));
      assertEquals(60_000, sums.getLong(1));
      assertEquals(59_999L * 60_000 / 2, sums.getLong(2));
    } finally {
      spark.conf().unset("spark.sql.files.maxPartitionBytes");
      spark.conf().unset("spark.sql.files.openCostInBytes");
    }
  }

  @Test
  void readsAPathWithoutSchemeAsSealed() throws Exception {
    TestBroker.Input input = broker.input("people", "text/csv");
    input.add("part-00000.csv", "name,age\nTom,20\n".getBytes(StandardCharsets.UTF_8));
    startJob();
    String path = input.sealedPath().substring("sealed+file:".length());
    Dataset<Row> read = spark.read().option("header", true).option("inferSchema", true).csv(path);
    assertEquals("[Tom,20]", read.first().toString());
    assertEquals(1, spark.sql("select * from csv.`" + path + "` where _c0 = 'Tom'").count());
  }

  @Test
  void partitionsByColumnsAndReadsOnlyThePartitionsAsked() throws Exception {
    TestBroker.Output output = broker.output("result", "application/vnd.apache.parquet");
    startJob();
    numbers(300)
        .withColumn("city", functions.concat(functions.lit("Zürich/ä:=%"), functions.col("city")))
        .repartition(2)
        .write().partitionBy("city").parquet(output.sealedPath());
    assertTrue(output.committed.stream().allMatch(it -> it.path().startsWith("city=Zürich%2F")));

    TestBroker.Input input = output.asInput("again");
    startJob();
    Dataset<Row> read = spark.read().parquet(input.sealedPath());
    assertEquals(300, read.count());
    broker.asked.clear();
    assertEquals(100, read.where(functions.col("city").equalTo("Zürich/ä:=%1")).count());
    long opened = broker.asked.stream().filter("open"::equals).count();
    assertTrue(opened <= 2, () -> opened + " files opened");
  }

  @Test
  void pushesPredicatesDownIntoParquet() throws Exception {
    TestBroker.Output output = broker.output("result", "application/vnd.apache.parquet");
    startJob();
    spark.range(0, 200_000, 1, 1).selectExpr("id", "sha2(string(id), 256) as text")
        .write().option("parquet.block.size", 1 << 20).parquet(output.sealedPath());
    TestBroker.Input input = output.asInput("again");
    startJob();
    Dataset<Row> one = spark.read().parquet(input.sealedPath()).where("id = 150000");
    assertTrue(one.queryExecution().toString().contains("PushedFilters: [IsNotNull(id), EqualTo"));
    assertEquals(1, one.count());
  }

  @Test
  void replacesAndAppendsAsSparkUnderstandsIt() throws Exception {
    TestBroker.Output output = broker.output("result", "text/csv");
    startJob();
    numbers(30).write().mode("overwrite").partitionBy("city").csv(output.sealedPath() + "/a");
    int first = output.committed.size();
    numbers(10).coalesce(1).write().mode("append").csv(output.sealedPath() + "/b");
    assertEquals(first + 1, output.committed.size());
    assertThrows(
        Exception.class, () -> numbers(1).write().mode("error").csv(output.sealedPath() + "/a"));
    numbers(1).write().mode("ignore").csv(output.sealedPath() + "/a");
    assertEquals(first + 1, output.committed.size());

    numbers(3).coalesce(1).where("city = '1'").write().mode("overwrite")
        .option("partitionOverwriteMode", "dynamic").partitionBy("city")
        .csv(output.sealedPath() + "/a");
    Map<String, Long> partitions = output.committed.stream().collect(Collectors.groupingBy(
        it -> it.path().substring(0, it.path().lastIndexOf('/')), Collectors.counting()));
    assertEquals(Map.of("a/city=0", 3L, "a/city=1", 1L, "a/city=2", 3L, "b", 1L), partitions);

    numbers(10).coalesce(1).write().mode("overwrite").csv(output.sealedPath() + "/a");
    assertEquals(2, output.committed.size());
    assertEquals(List.of("append", "append", "replace", "replace"), output.modes);
  }

  @Test
  void readsBackWhatItHasWritten() throws Exception {
    TestBroker.Output output = broker.output("result", "application/vnd.apache.parquet");
    startJob();
    String path = output.sealedPath() + "/steps";
    numbers(300).repartition(3).write().partitionBy("city").parquet(path);
    Dataset<Row> back = spark.read().parquet(path);
    assertEquals(300, back.count());
    assertEquals(100, back.where("city = '1'").count());
    back.where("city = '2'").write().mode("append").partitionBy("city").parquet(path);
    assertEquals(400, spark.read().parquet(path).count());
    // What is read is there until the commit that replaces it.
    spark.read().parquet(path).where("city = '2'").write().mode("overwrite").parquet(path);
    assertEquals(200, spark.read().parquet(path).count());
    numbers(7).write().mode("overwrite").csv(output.sealedPath() + "/other");
    assertEquals(7, spark.read().csv(output.sealedPath() + "/other").count());
    assertThrows(Exception.class, () -> spark.read().csv(output.sealedPath() + "/never"));
  }

  @Test
  void needsNoRenameAndNoListing() throws Exception {
    broker.storedIn(ObjectStore.SCHEME);
    TestBroker.Output output = broker.output("result", "text/csv");
    startJob();
    numbers(300).write().mode("overwrite").partitionBy("city").csv(output.sealedPath());
    numbers(300).write().mode("overwrite").partitionBy("city").csv(output.sealedPath());
    TestBroker.Input input = output.asInput("again");
    startJob();
    assertEquals(300, spark.read().csv(input.sealedPath()).count());
  }

  @Test
  void writesNoPlaintextIntoADatasetsFolder() throws Exception {
    TestBroker.Output output = broker.output("result", "text/csv");
    startJob();
    String plain = output.sealedPath().substring("sealed+".length());
    for (String path : List.of(plain, plain + "/x", plain + "/x/../../result/y")) {
      Exception refusal =
          assertThrows(Exception.class, () -> numbers(10).write().mode("overwrite").csv(path));
      assertTrue(refusal.toString().contains("where the host reads"), refusal::toString);
    }
    assertEquals(List.of(), output.filesInFolder());
  }

  @Test
  void leavesPlainPathsToSpark() throws Exception {
    startJob();
    String path = folder.resolve("plain").toUri().toString();
    numbers(10).write().csv(path);
    assertEquals(10, spark.read().csv(path).count());
  }

  @Test
  void fitsManySlotsIntoALargerHeader() throws Exception {
    TestBroker.Output output = broker.output("result", "text/csv");
    broker.wrapInto(4096);
    startJob();
    numbers(10).coalesce(1).write().csv(output.sealedPath());
    assertEquals(1, output.committed.size());
    assertFalse(output.plaintexts().isEmpty());
  }
}
