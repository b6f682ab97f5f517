package io.cloister.spark.oneprocess;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.FileNotFoundException;
import java.nio.file.Files;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.List;
import java.util.stream.Stream;
import jdk.jfr.Recording;
import jdk.jfr.consumer.RecordedEvent;
import jdk.jfr.consumer.RecordingFile;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.FSDataInputStream;
import org.apache.hadoop.fs.FSDataOutputStream;
import org.apache.hadoop.fs.FileStatus;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.LocalFileSystem;
import org.apache.hadoop.fs.Path;
import org.apache.hadoop.fs.permission.FsPermission;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Local files as Hadoop has them, but that no process is started for them. */
class LocalFilesTest {
  @TempDir java.nio.file.Path folder;

  /** What a commit of Spark's does with files, and what looks at their rights. */
  private static void use(FileSystem files, Path root) throws Exception {
    Path attempt = new Path(root, "_temporary/0/task");
    assertTrue(files.mkdirs(attempt, new FsPermission((short) 0750)));
    Path part = new Path(attempt, "part-0");
    try (FSDataOutputStream out = files.create(part)) {
      out.writeUTF("text");
    }
    files.setPermission(part, new FsPermission((short) 0640));
    assertEquals(new FsPermission((short) 0640), files.getFileStatus(part).getPermission());
    Path there = new Path(root, "part-0");
    assertTrue(files.rename(part, there));
    assertTrue(files.delete(new Path(root, "_temporary"), true));
    for (FileStatus status : files.listStatus(root)) {
      assertFalse(status.getOwner().isEmpty());
      assertEquals(6, status.getLen());
    }
    try (FSDataInputStream in = files.open(there)) {
      assertEquals("text", in.readUTF());
    }
  }

  private List<String> processesOf(FileSystem files, String name) throws Exception {
    files.initialize(FileSystem.getDefaultUri(new Configuration()), new Configuration());
    java.nio.file.Path into = folder.resolve(name + ".jfr");
    try (Recording recording = new Recording()) {
      recording.enable("jdk.ProcessStart");
      recording.start();
      use(files, new Path(folder.resolve(name).toUri()));
      recording.stop();
      recording.dump(into);
    }
    List<RecordedEvent> events = RecordingFile.readAllEvents(into);
    return events.stream().map(event -> event.getString("command").split(" ")[0]).toList();
  }

  @Test
  void startNoProcess() throws Exception {
    assertTrue(processesOf(new LocalFileSystem(), "hadoop").contains("chmod"));
    assertEquals(List.of(), processesOf(new LocalFiles(), "ours"));
  }

  @Test
  void haveTheRightsThatWereAskedFor() throws Exception {
    LocalFiles files = new LocalFiles();
    files.initialize(FileSystem.getDefaultUri(new Configuration()), new Configuration());
    java.nio.file.Path file = Files.createFile(folder.resolve("file"));
    Path path = new Path(file.toUri());
    for (short bits = 0; bits < 512; bits++) {
      FsPermission permission = new FsPermission(bits);
      files.setPermission(path, permission);
      assertEquals(permission, files.getFileStatus(path).getPermission());
      String rights = PosixFilePermissions.toString(Files.getPosixFilePermissions(file));
      assertEquals(permission.toString(), rights);
    }
  }

  @Test
  void stayAlone() throws Exception {
    LocalFiles files = new LocalFiles();
    files.initialize(FileSystem.getDefaultUri(new Configuration()), new Configuration());
    use(files, new Path(folder.resolve("root").toUri()));
    try (Stream<java.nio.file.Path> left = Files.list(folder.resolve("root"))) {
      assertEquals(List.of("part-0"), left.map(path -> path.getFileName().toString()).toList());
    }
    Path missing = new Path(folder.resolve("missing").toUri());
    assertThrows(FileNotFoundException.class, () -> files.getFileStatus(missing));
    assertThrows(FileNotFoundException.class, () -> files.listStatus(missing));
  }
}
