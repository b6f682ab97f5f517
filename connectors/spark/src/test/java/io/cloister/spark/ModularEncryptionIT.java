package io.cloister.spark;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.cloister.spark.testing.SparkTest;
import io.cloister.spark.testing.TestBroker;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.security.SecureRandom;
import java.util.Base64;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.apache.parquet.crypto.keytools.KeyToolkit;
import org.apache.spark.sql.Dataset;
import org.apache.spark.sql.Row;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Parquet modular encryption under master keys of the job. */
class ModularEncryptionIT extends SparkTest {
  private static final String PARQUET = "application/vnd.apache.parquet";
  private static final Map<String, String> FACTORY =
      Map.of(
          "parquet.crypto.factory.class", "io.cloister.spark.parquet.ModularCryptoFactory");
  private static final Map<String, String> UNIFORM =
      with(FACTORY, "parquet.encryption.uniform.key", "keys/footer");
  private static final Map<String, String> COLUMNS =
      with(
          with(FACTORY, "parquet.encryption.footer.key", "keys/footer"),
          "parquet.encryption.column.keys", "keys/name:name");

  private final Map<String, byte[]> masterKeys = new TreeMap<>();
  private TestBroker.Output output;

  @BeforeEach
  void makeKeys() throws Exception {
    for (String name : new String[] {"footer", "name", "other"}) {
      byte[] key = new byte[32];
      new SecureRandom().nextBytes(key);
      masterKeys.put(name, key);
    }
    giveKeys("footer", "name");
    output = broker.output("result", PARQUET);
    startJob();
  }

  private static Map<String, String> with(Map<String, String> options, String key, String value) {
    Map<String, String> more = new TreeMap<>(options);
    more.put(key, value);
    return more;
  }

  private void giveKeys(String... names) throws Exception {
    TestBroker.Input keys = broker.input("keys", "application/octet-stream");
    for (String name : names) keys.add(name, masterKeys.get(name));
    KeyToolkit.removeCacheEntriesForAllTokens();
  }

  private void write(Map<String, String> options) {
    people(2).write().options(options).parquet(output.sealedPath());
  }

  private static Dataset<Row> read(TestBroker.Input input, Map<String, String> options) {
    return spark.read().options(options).parquet(input.sealedPath());
  }

  /** What was written, as another job reads it. */
  private TestBroker.Input again() throws Exception {
    TestBroker.Input input = output.asInput("again");
    KeyToolkit.removeCacheEntriesForAllTokens();
    startJob();
    return input;
  }

  @Test
  void readsBackWhatHasNoRows() throws Exception {
    people(1).where("id < 0").write().options(UNIFORM).parquet(output.sealedPath());
    Dataset<Row> read = read(again(), UNIFORM);
    assertEquals(List.of("id", "name", "city"), List.of(read.columns()));
    assertEquals(0, read.count());
  }

  private static void assertRefused(String wanted, Executable act) {
    Throwable thrown = assertThrows(Exception.class, act);
    StringBuilder said = new StringBuilder();
    for (Throwable it = thrown; it != null; it = it.getCause()) said.append(it).append('\n');
    assertTrue(said.toString().contains(wanted), said.toString());
  }

  private static void assertPeople(Dataset<Row> seen) {
    assertEquals(3000, seen.count());
    assertEquals(0, people(2).except(seen).count());
    assertEquals(1, seen.where("id = 2999 and name = 'name-2999'").count());
  }

  @Test
  void readsWhatItWroteUnderOneKey() throws Exception {
    write(UNIFORM);
    for (byte[] file : output.plaintexts().values()) {
      assertEquals("PARE", new String(file, 0, 4, StandardCharsets.US_ASCII));
      assertFalse(new String(file, StandardCharsets.ISO_8859_1).contains("name-1"));
      assertFalse(new String(file, StandardCharsets.ISO_8859_1).contains("spark_schema"));
    }
    assertPeople(read(again(), FACTORY));
  }

  @Test
  void readsTheColumnsWhoseKeysTheJobHas() throws Exception {
    write(COLUMNS);
    TestBroker.Input input = again();
    assertPeople(read(input, FACTORY));
    giveKeys("footer");
    startJob();
    assertEquals(3000, read(input, FACTORY).select("id", "city").distinct().count());
    assertRefused(
        "master key keys/name: the job has no input with this file",
        () -> read(input, FACTORY).select("name").collect());
  }

  @Test
  void encryptsColumnsWithoutAKeyOfTheirOwn() throws Exception {
    write(COLUMNS);
    giveKeys("footer", "name");
    for (byte[] file : output.plaintexts().values()) {
      assertFalse(
          new String(file, StandardCharsets.ISO_8859_1).contains("name-"), "a value in plaintext");
    }
    // Without the footer's key there is no column at all.
    TestBroker.Input input = again();
    giveKeys("name");
    startJob();
    assertRefused("keys/footer", () -> read(input, FACTORY).select("id").collect());
  }

  @Test
  void refusesAnotherKey() throws Exception {
    write(UNIFORM);
    masterKeys.put("footer", masterKeys.get("other"));
    giveKeys("footer");
    assertRefused(
        "master key keys/footer does not open this key", () -> readAgain(FACTORY).collect());
    masterKeys.put("footer", new byte[16]);
    giveKeys("footer");
    assertRefused("wanted a file of 32 bytes", () -> readAgain(FACTORY).collect());
  }

  private Dataset<Row> readAgain(Map<String, String> options) throws Exception {
    return read(again(), options);
  }

  @Test
  void refusesAFooterUnderAnotherKeyOfTheJobThanWasNamed() throws Exception {
    write(UNIFORM);
    assertPeople(readAgain(with(FACTORY, "parquet.encryption.footer.key", "keys/footer")));
    assertRefused(
        "wanted a footer under master key keys/name, seen keys/footer",
        () -> readAgain(with(FACTORY, "parquet.encryption.footer.key", "keys/name")));
  }

  @Test
  void refusesAFileOfAnotherDataset() throws Exception {
    write(UNIFORM);
    TestBroker.Input moved = broker.input("moved", PARQUET);
    for (var file : output.plaintexts().entrySet()) moved.add(file.getKey(), file.getValue());
    startJob();
    assertRefused("wanted AAD prefix", () -> read(moved, FACTORY).collect());
    String id = new String(prefixIn(output.plaintexts().values().iterator().next()));
    assertPeople(read(moved, with(FACTORY, "cloister.parquet.aad.prefix", id)));
  }

  /** The AAD prefix that is stored in a file's footer: 32 hexadecimal digits, the dataset's id. */
  private static byte[] prefixIn(byte[] file) {
    var found =
        java.util.regex.Pattern.compile("[0-9a-f]{32}")
            .matcher(new String(file, StandardCharsets.ISO_8859_1));
    assertTrue(found.find());
    return found.group().getBytes(StandardCharsets.US_ASCII);
  }

  @Test
  void refusesAFileThatIsNotEncrypted() throws Exception {
    people(2).write().parquet(output.sealedPath());
    assertRefused("seen one that is not", () -> readAgain(FACTORY).collect());
  }

  @Test
  void neverSkipsAFileThatItCannotOpen() throws Exception {
    write(UNIFORM);
    TestBroker.Input input = again();
    giveKeys("other");
    startJob();
    String wanted = "wanted false with encrypted Parquet";
    var reader = spark.read().schema(people(2).schema()).options(FACTORY);
    spark.conf().set("spark.sql.files.ignoreCorruptFiles", true);
    try {
      assertRefused(wanted, () -> reader.parquet(input.sealedPath()).collect());
    } finally {
      spark.conf().unset("spark.sql.files.ignoreCorruptFiles");
    }
    assertRefused(
        wanted,
        () -> reader.option("ignoreCorruptFiles", true).parquet(input.sealedPath()).collect());
  }

  @Test
  void refusesAnAlteredPage() throws Exception {
    write(UNIFORM);
    TestBroker.Input altered = broker.input("altered", PARQUET);
    for (var file : output.plaintexts().entrySet()) {
      byte[] bytes = file.getValue();
      bytes[100] ^= 1;
      altered.add(file.getKey(), bytes);
    }
    startJob();
    String id = new String(prefixIn(output.plaintexts().values().iterator().next()));
    assertThrows(
        Exception.class,
        () -> read(altered, with(FACTORY, "cloister.parquet.aad.prefix", id)).collect());
  }

  @Test
  void writesNothingWithoutAKey() throws Exception {
    assertRefused("parquet.encryption.footer.key", () -> write(FACTORY));
    assertRefused(
        "the job has no input with this file",
        () -> write(with(FACTORY, "parquet.encryption.uniform.key", "keys/missing")));
    assertRefused(
        "wanted INPUT/FILE of the job",
        () -> write(with(FACTORY, "parquet.encryption.uniform.key", "AAECAwQFBgcICQoLDA0ODw==")));
    assertTrue(output.committed.isEmpty());
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "parquet.encryption.algorithm AES_GCM_CTR_V1 cloister.parquet.allow.unauthenticated.pages",
        "parquet.encryption.plaintext.footer true cloister.parquet.allow.plaintext.footer"
      })
  void weakensOnlyByASwitch(String weaker) throws Exception {
    String[] words = weaker.split(" ");
    Map<String, String> options = with(COLUMNS, words[0], words[1]);
    assertRefused(words[2] + " allows it", () -> write(options));
    assertTrue(output.committed.isEmpty());
    write(with(options, words[2], "true"));
    assertRefused(words[2] + " allows it", () -> readAgain(FACTORY).collect());
    assertPeople(readAgain(with(FACTORY, words[2], "true")));
  }

  @Test
  void leavesNoMasterKeyInConfigurationAndLogs() throws Exception {
    write(COLUMNS);
    String configuration = spark.sparkContext().getConf().toDebugString();
    StringBuilder logs = new StringBuilder(configuration);
    try (var files = Files.walk(eventLog)) {
      for (var file : files.filter(Files::isRegularFile).toList()) {
        logs.append(new String(Files.readAllBytes(file), StandardCharsets.ISO_8859_1));
      }
    }
    assertTrue(logs.length() > 1000);
    for (byte[] key : masterKeys.values()) {
      for (String form : forms(key)) assertFalse(logs.toString().contains(form));
    }
  }

  private static String[] forms(byte[] key) {
    return new String[] {
      new String(key, StandardCharsets.ISO_8859_1), HexFormat.of().formatHex(key),
      Base64.getEncoder().withoutPadding().encodeToString(key)
    };
  }
}
