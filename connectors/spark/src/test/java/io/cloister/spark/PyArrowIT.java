package io.cloister.spark;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.cloister.spark.testing.SparkTest;
import io.cloister.spark.testing.TestBroker;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.SecureRandom;
import java.util.HashMap;
import java.util.Map;
import org.apache.parquet.crypto.keytools.KeyToolkit;
import org.apache.spark.sql.Dataset;
import org.apache.spark.sql.Row;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledIfEnvironmentVariable;

/** Encrypted Parquet between Spark and PyArrow, by connectors/python, under the same master keys. */
@EnabledIfEnvironmentVariable(named = "CLOISTER_PYTHON_CLIENT", matches = ".+")
class PyArrowIT extends SparkTest {
  private static final String PARQUET = "application/vnd.apache.parquet";
  private static final String FACTORY = "io.cloister.spark.parquet.ModularCryptoFactory";

  private Path keysFolder;

  @BeforeEach
  void makeKeys() throws Exception {
    keysFolder = Files.createDirectory(folder.resolve("master-keys"));
    TestBroker.Input keys = broker.input("keys", "application/octet-stream");
    for (String name : new String[] {"footer", "name"}) {
      byte[] key = new byte[32];
      new SecureRandom().nextBytes(key);
      keys.add(name, key);
      Files.write(keysFolder.resolve(name), key);
    }
    KeyToolkit.removeCacheEntriesForAllTokens();
  }

  private String pyArrow(String act, Path file) throws Exception {
    Path peer = Path.of("../python/tests/parquet_peer.py");
    ProcessBuilder builder =
        new ProcessBuilder(
            System.getenv("CLOISTER_PYTHON_CLIENT"), "-B", peer.toString(), act, file.toString(),
            keysFolder.toString());
    builder.environment().put("PYTHONPATH", "../python/src");
    Path errors = folder.resolve("errors");
    Process process = builder.redirectError(errors.toFile()).start();
    String said = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    assertEquals(0, process.waitFor(), Files.readString(errors));
    return said;
  }

  @Test
  void readsWhatSparkWrote() throws Exception {
    TestBroker.Output output = broker.output("result", PARQUET);
    startJob();
    Map<String, Map<String, String>> ways =
        Map.of("uniform", Map.of(), "columns", Map.of("parquet.encryption.column.keys", "keys/name:name"));
    for (var way : ways.entrySet()) {
      Map<String, String> options = new HashMap<>(way.getValue());
      options.put("parquet.crypto.factory.class", FACTORY);
      options.put("parquet.encryption.footer.key", "keys/footer");
      people(1).write().mode("overwrite").options(options).parquet(output.sealedPath());
      Path file = folder.resolve(way.getKey() + ".parquet");
      Files.write(file, output.plaintexts().values().iterator().next());
      JsonNode rows = new ObjectMapper().readTree(pyArrow("read", file));
      assertEquals(3000, rows.size());
      assertEquals("name-2999", rows.get(2999).get("name").asText());
      assertEquals("2", rows.get(2999).get("city").asText());
    }
  }

  @Test
  void writesWhatSparkReads() throws Exception {
    Path file = folder.resolve("people.parquet");
    pyArrow("write", file);
    assertTrue(Files.size(file) > 1000);
    TestBroker.Input input = broker.input("people", PARQUET);
    input.add("people.parquet", Files.readAllBytes(file));
    startJob();
    Dataset<Row> read =
        spark.read().option("parquet.crypto.factory.class", FACTORY)
            .option("parquet.encryption.footer.key", "keys/footer")
            // PyArrow's key tools set none.
            .option("cloister.parquet.allow.no.aad.prefix", true)
            .parquet(input.sealedPath());
    assertEquals(3000, read.count());
    assertEquals(0, people(1).except(read).count());
  }
}
