package io.cloister.spark.oneprocess;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.ByteArrayOutputStream;
import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.IOException;
import java.io.ObjectInputStream;
import java.io.ObjectOutputStream;
import java.io.Serializable;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.apache.hadoop.fs.FileSystem;
import org.apache.spark.SparkEnv;
import org.apache.spark.sql.SparkSession;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Spark in one process, whose ports everybody on the machine can connect to. */
class MainIT {
  @TempDir Path folder;

  private final Map<String, String> before = new LinkedHashMap<>();

  private void set(String name, String value) {
    before.putIfAbsent(name, System.getProperty(name, ""));
    System.setProperty(name, value);
  }

  /** What the arguments of Java say in an image. What {@link Main} sets is taken back afterwards. */
  @BeforeEach
  void setUp() throws IOException {
    // Other tests have had Hadoop's local files, which it keeps.
    FileSystem.closeAll();
    set("spark.master", "local[2]");
    set("spark.local.dir", folder.toString());
    set("spark.sql.warehouse.dir", folder.resolve("warehouse").toUri().toString());
    for (String name : Main.settings("local").keySet()) {
      before.putIfAbsent(name, System.getProperty(name, ""));
    }
  }

  @AfterEach
  void restore() throws IOException {
    before.forEach(
        (name, value) -> {
          if (value.isEmpty()) System.clearProperty(name);
          else System.setProperty(name, value);
        });
    FileSystem.closeAll();
  }

  /** Lines of the files that a statement made, beside which there is nothing but a mark of its end. */
  private List<String> rowsOf(String name) throws IOException {
    List<String> rows = new ArrayList<>();
    try (Stream<Path> files = Files.list(folder.resolve(name))) {
      for (Path file : files.toList()) {
        if (file.endsWith("_SUCCESS")) continue;
        assertTrue(file.getFileName().toString().startsWith("part-"), file::toString);
        rows.addAll(Files.readAllLines(file));
      }
    }
    Collections.sort(rows);
    return rows;
  }

  @Test
  void runsAScript() throws Throwable {
    Path script = folder.resolve("query.sql");
    Files.writeString(
        script,
        """
        -- One; two.
        CREATE TEMPORARY VIEW numbers AS SELECT id, ';' AS mark FROM range(10);
        /* And; this. */
        INSERT OVERWRITE DIRECTORY '%1$s/even' USING csv SELECT * FROM numbers WHERE id %% 2 = 0;
        INSERT OVERWRITE DIRECTORY '%1$s/sum' USING json SELECT sum(id) AS sum FROM numbers
        -- The end.
        """
            .formatted(folder));
    Main.main(new String[] {script.toString()});
    assertEquals(List.of("0,;", "2,;", "4,;", "6,;", "8,;"), rowsOf("even"));
    assertEquals(List.of("{\"sum\":45}"), rowsOf("sum"));
  }

  @Test
  void failsWhereAStatementDoes() throws Throwable {
    Path script = Files.writeString(folder.resolve("query.sql"), "SELECT 1; SELECT * FROM nowhere");
    assertThrows(Exception.class, () -> Main.main(new String[] {script.toString()}));
    assertThrows(IllegalArgumentException.class, () -> Main.main(new String[0]));
    String fails = Fails.class.getName();
    Throwable failure = assertThrows(Throwable.class, () -> Main.main(new String[] {fails, "why"}));
    assertEquals("why", failure.getMessage());
    for (String master : List.of("spark://127.0.0.1:7077", "yarn", "local-cluster[1,1,1024]")) {
      assertThrows(IllegalArgumentException.class, () -> Main.settings(master));
    }
  }

  /** A program that fails. */
  public static final class Fails {
    public static void main(String[] arguments) {
      throw new IllegalStateException(arguments[0]);
    }
  }

  /** What says that somebody's object was read: reading one can run any code that is there. */
  public static final class Gadget implements Serializable {
    private static final long serialVersionUID = 1;
    static volatile boolean isRead;

    private void readObject(ObjectInputStream in) throws IOException, ClassNotFoundException {
      in.defaultReadObject();
      isRead = true;
    }
  }

  /** A program that is called at Spark's ports while it runs; what each answered. */
  public static final class Called {
    static final Map<String, String> ANSWERS = new LinkedHashMap<>();

    public static void main(String[] arguments) throws Exception {
      try (SparkSession spark = SparkSession.builder().getOrCreate()) {
        int driver = Integer.parseInt(spark.conf().get("spark.driver.port"));
        int blocks = SparkEnv.get().blockManager().blockManagerId().port();
        ANSWERS.put("driver", answer(driver, message(driver)));
        ANSWERS.put("blocks", answer(blocks, openBlocks()));
        assertEquals(10, spark.range(10).count());
      }
    }
  }

  /** Of whoever does not begin by showing that he knows the secret. */
  private static final String REFUSAL = "Unknown challenge message";

  @Test
  void answersNobody() throws Throwable {
    Gadget.isRead = false;
    // As Spark is otherwise.
    set("spark.ui.enabled", "false");
    set("spark.driver.host", "127.0.0.1");
    set("spark.driver.bindAddress", "127.0.0.1");
    Called.main(new String[0]);
    for (String answer : Called.ANSWERS.values()) assertFalse(answer.contains(REFUSAL), answer);
    assertTrue(Gadget.isRead, "the message is one that Spark reads");

    Gadget.isRead = false;
    Main.main(new String[] {Called.class.getName()});
    for (String answer : Called.ANSWERS.values()) assertTrue(answer.contains(REFUSAL), answer);
    assertFalse(Gadget.isRead);
  }

  /** A program that knows better. */
  public static final class SetsItself {
    public static void main(String[] arguments) {
      SparkSession.Builder builder = SparkSession.builder();
      for (int i = 0; i < arguments.length; i += 2) builder.config(arguments[i], arguments[i + 1]);
      builder.getOrCreate().stop();
    }
  }

  @ParameterizedTest
  @CsvSource({
    "spark.network.crypto.enabled, false",
    "spark.network.crypto.saslFallback, true",
    "spark.driver.bindAddress, 0.0.0.0",
    "spark.ui.enabled, true",
    "spark.hadoop.fs.file.impl, org.apache.hadoop.fs.LocalFileSystem",
    "spark.authenticate.secret, known",
  })
  void refusesAProgramThatSetsItOtherwise(String name, String value) throws Throwable {
    String program = SetsItself.class.getName();
    Main.main(new String[] {program, "spark.app.name", "as it should be"});
    Throwable refusal =
        assertThrows(Throwable.class, () -> Main.main(new String[] {program, name, value}));
    assertTrue(refusal.getMessage().contains(name + ": wanted "), refusal.getMessage());
    assertFalse(refusal.getMessage().contains("known"), refusal.getMessage());
  }

  /** What executors say to a driver: of nobody, to an endpoint, as Java writes objects. */
  private static byte[] message(int port) throws IOException {
    ByteArrayOutputStream message = new ByteArrayOutputStream();
    try (DataOutputStream out = new DataOutputStream(message)) {
      out.writeBoolean(false);
      out.writeBoolean(true);
      out.writeUTF("127.0.0.1");
      out.writeInt(port);
      out.writeUTF("endpoint-verifier");
      ObjectOutputStream objects = new ObjectOutputStream(out);
      objects.writeObject(new Gadget());
      objects.flush();
    }
    return message.toByteArray();
  }

  /** What executors ask of one another: an application's, an executor's and a block's name. */
  private static byte[] openBlocks() throws IOException {
    ByteArrayOutputStream message = new ByteArrayOutputStream();
    try (DataOutputStream out = new DataOutputStream(message)) {
      out.writeByte(0);
      for (String name : List.of("app", "driver")) writeName(out, name);
      out.writeInt(1);
      writeName(out, "broadcast_0");
    }
    return message.toByteArray();
  }

  private static void writeName(DataOutputStream out, String name) throws IOException {
    out.writeInt(name.length());
    out.writeBytes(name);
  }

  /** What a port answers to a request. One that refuses closes. */
  private static String answer(int port, byte[] request) throws IOException {
    try (Socket socket = new Socket("127.0.0.1", port)) {
      socket.setSoTimeout(60_000);
      DataOutputStream out = new DataOutputStream(socket.getOutputStream());
      // A frame's length counts itself; 3 is a request, with a number and the length of its body.
      out.writeLong(8 + 1 + 8 + 4 + request.length);
      out.writeByte(3);
      out.writeLong(1);
      out.writeInt(request.length);
      out.write(request);
      out.flush();
      DataInputStream in = new DataInputStream(socket.getInputStream());
      byte[] frame = in.readNBytes(Math.toIntExact(in.readLong() - 8));
      String answer = new String(frame, StandardCharsets.ISO_8859_1);
      if (answer.contains(REFUSAL)) assertEquals(-1, in.read());
      return answer;
    }
  }
}
