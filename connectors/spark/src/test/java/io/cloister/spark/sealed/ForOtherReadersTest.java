package io.cloister.spark.sealed;

import com.fasterxml.jackson.databind.ObjectMapper;
import io.cloister.spark.testing.TestFiles;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HexFormat;
import org.junit.jupiter.api.Test;

/** Leaves sealed files in {@code target/for-other-readers}, for packages/sealed to read. */
class ForOtherReadersTest {
  private static final Path FOLDER = Path.of("target/for-other-readers");

  @Test
  void writes() throws Exception {
    Files.createDirectories(FOLDER);
    ObjectMapper json = new ObjectMapper();
    var expect = json.createObjectNode().put("key", "61".repeat(32));
    var files = expect.putArray("files");
    int part = 0;
    for (int segmentSize : new int[] {256, 4096, FixedPart.DEFAULT_SEGMENT_SIZE}) {
      int first = segmentSize - 56;
      for (int length : new int[] {0, 1, first, first + 1, first + segmentSize - 16, 100_000}) {
        FixedPart fixed =
            new FixedPart(
                "0123456789abcdef0123456789abcdef", String.format("%032x", part),
                "a \"quoted\" \\ type", part, segmentSize);
        byte[] sealed = TestFiles.seal(fixed, TestFiles.dek(0x61), TestFiles.pattern(length));
        String name = part + ".sealed";
        Files.write(FOLDER.resolve(name), sealed);
        files.addObject().put("name", name).put("length", length).put("part", part)
            .put(
                "fixedDigest",
                SealedHeader.digestOf(SealedHeader.encodeFixed(fixed, SealedHeader.ALIGNMENT)))
            .put(
                "lastTag", HexFormat.of().formatHex(sealed, sealed.length - 16, sealed.length));
        part++;
      }
    }
    Files.writeString(FOLDER.resolve("expect.json"), json.writeValueAsString(expect));
  }
}
