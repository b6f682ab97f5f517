package io.cloister.spark.fs;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.cloister.spark.broker.Part;
import io.cloister.spark.sealed.SealedException;
import io.cloister.spark.testing.TestBroker;
import io.cloister.spark.testing.TestFiles;
import java.io.EOFException;
import java.io.FileNotFoundException;
import java.nio.file.Files;
import java.nio.file.StandardCopyOption;
import java.util.Arrays;
import java.util.List;
import java.util.stream.Stream;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.FSDataInputStream;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.Path;
import org.apache.spark.SparkConf;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class SealedFileSystemTest {
  @TempDir java.nio.file.Path folder;
  private TestBroker broker;
  private TestBroker.Input input;
  private TestBroker.Output output;
  private FileSystem fs;

  @BeforeEach
  void start() throws Exception {
    broker = new TestBroker(folder);
    input = broker.input("people", "text/csv");
    output = broker.output("result", "text/csv");
    fs = new Path("sealed+file:/").getFileSystem(new Configuration());
  }

  @AfterEach
  void stop() throws Exception {
    broker.close();
  }

  private Path in(String path) {
    return new Path(input.sealedPath() + "/" + path);
  }

  private Path out(String path) {
    return new Path(output.sealedPath() + "/" + path);
  }

  private static void assertCode(SealedException.Code code, Act act) {
    SealedException refusal = assertThrows(SealedException.class, act::run);
    assertEquals(code, refusal.code(), refusal.getMessage());
  }

  private interface Act {
    void run() throws Exception;
  }

  @Test
  void isFoundForEachScheme() throws Exception {
    for (String scheme : List.of("file", "hdfs", "s3a", "oss")) {
      Class<?> found = FileSystem.getFileSystemClass("sealed+" + scheme, new Configuration());
      assertTrue(SealedFileSystem.class.isAssignableFrom(found), scheme);
    }
    assertThrows(
        Exception.class, () -> FileSystem.getFileSystemClass("sealed+ftp", new Configuration()));
  }

  @Test
  void refusesASparkThatSpillsIntoADataset() throws Exception {
    TestJobs.use(broker.socket());
    SealedJob job = SealedJob.current();
    String result = output.sealedPath().substring("sealed+file:".length());
    SparkConf conf = new SparkConf(false);
    job.assertSpillsElsewhere(conf, null);
    job.assertSpillsElsewhere(conf.set("spark.local.dir", "/tmp/a, /tmp/b"), null);
    for (String folders : List.of(result, "/tmp," + result + "/x", "file:" + result + "/../result")) {
      assertCode(
          SealedException.Code.PATH,
          () -> job.assertSpillsElsewhere(conf.clone().set("spark.local.dir", folders), null));
      assertCode(SealedException.Code.PATH, () -> job.assertSpillsElsewhere(conf, folders));
    }
  }

  @Test
  void listsWhatTheManifestSaysAndNothingElse() throws Exception {
    input.add("a/one.csv", TestFiles.pattern(10_000), 256);
    input.add("a/b/two.csv", new byte[0]);
    input.add("three.csv", TestFiles.pattern(7));
    TestJobs.use(broker.socket());
    Files.write(folder.resolve("in/people/four.csv"), new byte[9]);
    Files.copy(
        input.file(input.parts.get(2)), folder.resolve("in/people/part-00003-copy.sealed"));

    assertEquals(List.of("a/", "three.csv 7"), list(in("")));
    assertEquals(List.of("b/", "one.csv 10000"), list(in("a")));
    assertEquals(List.of("two.csv 0"), list(in("a/b")));
    assertEquals(List.of("two.csv 0"), list(in("a/b/two.csv")));
    assertEquals(2, fs.globStatus(in("{a,x}/*.csv,three*")).length
        + fs.globStatus(in("a/*/*.csv")).length + fs.globStatus(in("thr*")).length);
    assertEquals(10_007, fs.getContentSummary(in("")).getLength());
    for (String missing : List.of("four.csv", "part-00003-copy.sealed", "a/one", "a/one.csv/x")) {
      assertFalse(fs.exists(in(missing)), missing);
      assertThrows(FileNotFoundException.class, () -> fs.open(in(missing)));
    }
  }

  private List<String> list(Path path) throws Exception {
    return Stream.of(fs.listStatus(path))
        .map(it -> it.getPath().getName() + (it.isDirectory() ? "/" : " " + it.getLen()))
        .sorted()
        .toList();
  }

  @Test
  void takesAnyNameThatADatasetMayHave() throws Exception {
    List<String> names =
        List.of("a b%20c.csv", "x:y.csv", "q?#&.csv", "[a]{b}*.csv", "\u00fc\ud83d\ude00.csv", "-");
    for (String name : names) input.add("in=" + name + "/" + name, TestFiles.pattern(10));
    TestJobs.use(broker.socket());
    int seen = 0;
    for (var folder : fs.listStatus(in(""))) {
      for (var file : fs.listStatus(folder.getPath())) {
        assertTrue(names.contains(file.getPath().getName()), file.getPath().getName());
        // As Spark hands paths to its tasks.
        Path sent = new Path(java.net.URI.create(file.getPath().toUri().toString()));
        try (FSDataInputStream in = fs.open(sent)) {
          assertArrayEquals(TestFiles.pattern(10), in.readAllBytes());
        }
        seen++;
      }
    }
    assertEquals(names.size(), seen);
  }

  @Test
  void readsAndSeeks() throws Exception {
    byte[] plaintext = TestFiles.pattern(10_000);
    input.add("a.csv", plaintext, 256);
    TestJobs.use(broker.socket());
    try (FSDataInputStream in = fs.open(in("a.csv"))) {
      assertArrayEquals(plaintext, in.readAllBytes());
      assertEquals(-1, in.read());
      in.seek(5000);
      assertEquals(Byte.toUnsignedInt(plaintext[5000]), in.read());
      assertEquals(5001, in.getPos());
      assertEquals(4999, in.available());
      byte[] some = new byte[600];
      in.readFully(9000, some);
      assertArrayEquals(Arrays.copyOfRange(plaintext, 9000, 9600), some);
      assertEquals(5001, in.getPos());
      assertThrows(EOFException.class, () -> in.readFully(9500, some));
      assertThrows(EOFException.class, () -> in.seek(10_001));
      assertThrows(EOFException.class, () -> in.seek(-1));
    }
  }

  @Test
  void saysWhichPartIsNotAuthenticAndWhere() throws Exception {
    Part part = input.add("a.csv", TestFiles.pattern(10_000));
    TestJobs.use(broker.socket());
    byte[] file = Files.readAllBytes(input.file(part));
    file[4096 + 4096 + 7] ^= 1;
    Files.write(input.file(part), file);
    try (FSDataInputStream in = fs.open(in("a.csv"))) {
      byte[] first = new byte[4040];
      in.readFully(0, first);
      assertArrayEquals(TestFiles.pattern(4040), first);
      SealedException refusal =
          assertThrows(SealedException.class, () -> in.readFully(4040, new byte[1]));
      assertEquals(
          "TAG: input people, part " + part.name() + " (a.csv) at plaintext offset 4040:"
              + " a segment is not authentic",
          refusal.getMessage());
    }
  }

  @Test
  void refusesPathsOutsideOfTheJob() throws Exception {
    input.add("a.csv", new byte[1]);
    TestJobs.use(broker.socket());
    for (String path : List.of(
        "/", "/etc/passwd", folder + "/in", folder + "/in/people2", folder + "/in/people/../x")) {
      Path outside = new Path("sealed+file:" + path);
      assertCode(SealedException.Code.PATH, () -> fs.getFileStatus(outside));
      assertCode(SealedException.Code.PATH, () -> fs.listStatus(outside));
      assertCode(SealedException.Code.PATH, () -> fs.open(outside));
      assertCode(SealedException.Code.PATH, () -> fs.create(outside));
      assertCode(SealedException.Code.PATH, () -> fs.mkdirs(outside));
    }
    assertCode(SealedException.Code.PATH, () -> fs.create(in("b.csv")));
    assertCode(SealedException.Code.PATH, () -> fs.mkdirs(in("b")));
    assertThrows(FileNotFoundException.class, () -> fs.open(out("b.csv")));
    assertThrows(UnsupportedOperationException.class, () -> fs.delete(in("a.csv"), false));
    assertThrows(UnsupportedOperationException.class, () -> fs.rename(in("a.csv"), in("b")));
    assertThrows(UnsupportedOperationException.class, () -> fs.append(out("a.csv")));
    assertThrows(IllegalArgumentException.class, () -> fs.open(new Path("file:/etc/passwd")));
  }

  @Test
  void refusesForeignChangedAndMissingParts() throws Exception {
    Part one = input.add("one.csv", TestFiles.pattern(3000));
    Part two = input.add("two.csv", TestFiles.pattern(3000));
    byte[] whole = Files.readAllBytes(input.file(one));
    TestBroker.Input other = broker.input("other", "text/csv");
    Part foreign = other.add("one.csv", TestFiles.pattern(3000));

    assertOpening(SealedException.Code.PART_FOREIGN, one, Files.readAllBytes(input.file(two)));
    assertOpening(SealedException.Code.PART_FOREIGN, one, Files.readAllBytes(other.file(foreign)));
    assertOpening(SealedException.Code.PART_CHANGED, one, Arrays.copyOf(whole, whole.length - 1));
    assertOpening(SealedException.Code.PART_CHANGED, one, Arrays.copyOf(whole, whole.length + 1));
    byte[] slots = whole.clone();
    slots[600] ^= 1;
    assertOpening(SealedException.Code.HEADER, one, slots);

    // The same file sealed once more under the same key: authentic, and not the one that is meant.
    byte[] last = whole.clone();
    last[last.length - 1] ^= 1;
    assertOpening(SealedException.Code.TAG, one, last);
    input.parts.set(
        0,
        new Part(
            one.number(), one.name(), one.path(), one.fileId(), one.fixedDigest(), one.length(),
            "0".repeat(32), -1));
    assertOpening(SealedException.Code.PART_CHANGED, one, whole);
    input.parts.set(
        0,
        new Part(
            one.number(), one.name(), one.path(), one.fileId(), "0".repeat(64), one.length(),
            one.lastTag(), -1));
    assertOpening(SealedException.Code.PART_CHANGED, one, whole);
    assertCode(SealedException.Code.PART_CHANGED, () -> fs.getFileStatus(in("one.csv")));

    Files.delete(input.file(two));
    assertCode(SealedException.Code.PART_MISSING, () -> fs.open(in("two.csv")));
    assertCode(SealedException.Code.PART_MISSING, () -> fs.getFileStatus(in("two.csv")));
  }

  private void assertOpening(SealedException.Code code, Part part, byte[] file) throws Exception {
    Files.write(input.file(part), file);
    TestJobs.use(broker.socket());
    SealedException refusal =
        assertThrows(SealedException.class, () -> fs.open(in(part.path())));
    String said = refusal.getMessage();
    assertEquals(code, refusal.code(), said);
    assertEquals(said.indexOf(part.name()), said.lastIndexOf(part.name()), said);
    assertTrue(said.contains(part.name()), said);
  }

  @Test
  void refusesTheWrongKey() throws Exception {
    Part one = input.add("one.csv", TestFiles.pattern(3000));
    Part two = input.add("two.csv", TestFiles.pattern(3000));
    TestJobs.use(broker.socket());
    broker.swapKeys(one.fileId(), two.fileId());
    assertCode(SealedException.Code.HEADER_MAC, () -> fs.open(in("one.csv")));
  }

  @Test
  void refusesAListWithTwoFilesInOnePlace() throws Exception {
    input.add("a", new byte[1]);
    input.add("a/b", new byte[1]);
    TestJobs.use(broker.socket());
    assertCode(SealedException.Code.PATH, () -> fs.listStatus(in("")));
    input.parts.remove(1);
    input.add("a", new byte[1]);
    TestJobs.use(broker.socket());
    assertCode(SealedException.Code.PATH, () -> fs.listStatus(in("")));
  }

  @Test
  void createsOnlyWhatATaskExpects() throws Exception {
    TestJobs.use(broker.socket());
    OutputDataset dataset = dataset();
    assertCode(SealedException.Code.WRITER_STATE, () -> fs.create(out("a.csv")));
    assertCode(SealedException.Code.PATH, () -> dataset.expect("../a.csv"));
    dataset.expect("x/a.csv");
    dataset.expect("never.csv");
    assertFalse(fs.exists(out("x/a.csv")));
    try (var file = fs.create(out("x/a.csv"))) {
      file.write(TestFiles.pattern(100_000));
      assertCode(SealedException.Code.WRITER_STATE, () -> fs.create(out("x/a.csv")));
      assertCode(SealedException.Code.WRITER_STATE, () -> dataset.expect("x/a.csv"));
      assertCode(SealedException.Code.WRITER_STATE, () -> dataset.take(List.of("x/a.csv")));
    }
    assertEquals(100_000, fs.getFileStatus(out("x/a.csv")).getLen());
    assertFalse(fs.exists(out("")));
    dataset.commit(dataset.take(List.of("x/a.csv", "never.csv")), path -> false);
    assertEquals(List.of("x/"), list(out("")));
    assertEquals(List.of("a.csv 100000"), list(out("x")));
    assertArrayEquals(TestFiles.pattern(100_000), output.plaintexts().get("x/a.csv"));
    String name = output.committed.get(0).name();
    assertEquals(List.of(name), output.filesInFolder());
    assertTrue(name.matches("part-[0-9]{5,10}-[0-9a-f]{32}\\.sealed"), name);
  }

  private OutputDataset dataset() throws Exception {
    return SealedJob.current().output(Location.ofSealed(out("a")).orElseThrow()).orElseThrow();
  }

  private Part write(String path, byte[] plaintext, boolean replaces) throws Exception {
    OutputDataset dataset = dataset();
    dataset.expect(path);
    try (var file = fs.create(out(path))) {
      file.write(plaintext);
    }
    assertThrows(FileNotFoundException.class, () -> fs.open(out(path)));
    dataset.commit(dataset.take(List.of(path)), replaced -> replaces);
    return output.committed.get(output.committed.size() - 1);
  }

  @Test
  void readsBackWhatTheRunHasCommitted() throws Exception {
    TestJobs.use(broker.socket());
    byte[] plaintext = TestFiles.pattern(200_000);
    Part one = write("x/one", plaintext, false);
    Part two = write("x/two", TestFiles.pattern(200_000), false);
    // Another JVM of the run, which has committed nothing itself.
    TestJobs.use(broker.socket());
    assertEquals(List.of("one 200000", "two 200000"), list(out("x")));
    try (FSDataInputStream in = fs.open(out("x/one"))) {
      in.seek(150_000);
      assertEquals(Byte.toUnsignedInt(plaintext[150_000]), in.read());
      in.seek(0);
      assertArrayEquals(plaintext, in.readAllBytes());
    }

    byte[] whole = Files.readAllBytes(output.file(one));
    byte[] flipped = whole.clone();
    flipped[flipped.length - 20] ^= 1;
    Files.write(output.file(one), flipped);
    assertCode(SealedException.Code.TAG, () -> fs.open(out("x/one")));
    Files.write(output.file(one), Arrays.copyOf(whole, whole.length - 1));
    assertCode(SealedException.Code.PART_CHANGED, () -> fs.open(out("x/one")));
    Files.copy(output.file(two), output.file(one), StandardCopyOption.REPLACE_EXISTING);
    assertCode(SealedException.Code.PART_FOREIGN, () -> fs.open(out("x/one")));
    Files.delete(output.file(one));
    assertCode(SealedException.Code.PART_MISSING, () -> fs.open(out("x/one")));

    write("three", new byte[3], true);
    assertThrows(FileNotFoundException.class, () -> fs.open(out("x/two")));
    assertEquals(List.of("three 3"), list(out("")));
  }

  @Test
  void refusesANumberThatIsThereTwice() throws Exception {
    TestJobs.use(broker.socket());
    OutputDataset dataset = dataset();
    Part part =
        new Part(5, "a", "a", "0".repeat(32), "b".repeat(64), 4152, "c".repeat(32), -1);
    Part same =
        new Part(5, "b", "b", "1".repeat(32), "b".repeat(64), 4152, "c".repeat(32), -1);
    List<WrittenPart> parts = List.of(new WrittenPart(part, 0), new WrittenPart(same, 0));
    assertCode(SealedException.Code.WRITER_STATE, () -> dataset.commit(parts, path -> false));
    assertEquals(List.of(), output.modes);
  }
}
