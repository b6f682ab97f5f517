package io.cloister.spark.sealed;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.cloister.spark.testing.TestFiles;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.List;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;

/** Files that the reference implementation wrote, and what every reader refuses. */
class SealedVectorsTest {
  private static final Path FOLDER = Path.of("../../vectors/sealed");

  private final JsonNode expect;

  SealedVectorsTest() throws Exception {
    expect = new ObjectMapper().readTree(FOLDER.resolve("expect.json").toFile());
  }

  private Dek key(String field) throws Exception {
    return Dek.from(HexFormat.of().parseHex(expect.get(field).textValue()));
  }

  @TestFactory
  List<DynamicTest> reads() {
    List<DynamicTest> tests = new ArrayList<>();
    for (JsonNode file : expect.get("files")) {
      tests.add(DynamicTest.dynamicTest(file.get("name").textValue(), () -> reads(file)));
    }
    assertEquals(15, tests.size());
    return tests;
  }

  private void reads(JsonNode file) throws Exception {
    byte[] sealed = Files.readAllBytes(FOLDER.resolve(file.get("name").textValue()));
    byte[] plaintext = TestFiles.pattern(file.get("length").intValue());
    assertArrayEquals(plaintext, TestFiles.open(sealed, key("key")));

    SealedReader reader = TestFiles.reader(sealed, key("key"));
    FixedPart fixed = reader.header().fixed();
    assertEquals(file.get("fileId").textValue(), fixed.fileId());
    assertEquals(file.get("part").longValue(), fixed.part());
    assertEquals(file.get("mediaType").textValue(), fixed.mediaType());
    assertEquals(file.get("segmentSize").intValue(), fixed.segmentSize());
    assertEquals(
        file.get("fixedDigest").textValue(),
        SealedHeader.digestOf(reader.header().fixedBytes()));
    assertEquals(file.get("lastTag").textValue(), HexFormat.of().formatHex(reader.lastTag()));
    assertEquals(
        plaintext.length,
        SealedHeader.plaintextLength(SealedHeader.fixedBytesOf(sealed), sealed.length));

    // What Java writes of what it read is the same header.
    assertArrayEquals(
        Arrays.copyOf(sealed, reader.header().length()),
        SealedHeader.encode(
            SealedHeader.encodeFixed(fixed, reader.header().length()), reader.header().slots(),
            SealedHeader.lengthFor(fixed, reader.header().slots()), key("key")));
    assertRefused(sealed, key("otherKey"), List.of("HEADER_MAC"));
  }

  @TestFactory
  List<DynamicTest> refuses() {
    List<DynamicTest> tests = new ArrayList<>();
    for (JsonNode refused : expect.get("refused")) {
      tests.add(DynamicTest.dynamicTest(refused.get("name").textValue(), () -> refuses(refused)));
    }
    assertTrue(tests.size() > 50);
    return tests;
  }

  private void refuses(JsonNode refused) throws Exception {
    byte[] sealed = Files.readAllBytes(FOLDER.resolve(expect.get("base").textValue()));
    for (JsonNode edit : refused.get("edits")) {
      byte[] bytes = HexFormat.of().parseHex(edit.get("bytes").textValue());
      System.arraycopy(bytes, 0, sealed, edit.get("at").intValue(), bytes.length);
    }
    List<String> codes = new ArrayList<>();
    refused.get("codes").forEach(code -> codes.add(code.textValue()));
    assertRefused(Arrays.copyOf(sealed, refused.get("length").intValue()), key("key"), codes);
  }

  private static void assertRefused(byte[] sealed, Dek dek, List<String> codes) {
    SealedException refusal =
        assertThrows(SealedException.class, () -> TestFiles.open(sealed, dek));
    assertTrue(codes.contains(refusal.code().name()), refusal.getMessage());
  }

  @Test
  void opensTheLastSegmentBeforeItTellsALength() throws Exception {
    byte[] sealed = Files.readAllBytes(FOLDER.resolve("segments-256-length-1000.sealed"));
    byte[] cut = Arrays.copyOf(sealed, SealedHeader.ALIGNMENT + 2 * 256);
    Dek dek = key("key");
    SealedException refusal =
        assertThrows(SealedException.class, () -> TestFiles.reader(cut, dek));
    assertEquals(SealedException.Code.TAG, refusal.code());
  }

  @Test
  void refusesAnyBitThatIsFlippedAndAnyCut() throws Exception {
    byte[] sealed = Files.readAllBytes(FOLDER.resolve("segments-256-length-201.sealed"));
    Dek dek = key("key");
    for (int bit = 0; bit < sealed.length * 8; bit++) {
      byte[] flipped = sealed.clone();
      flipped[bit / 8] ^= (byte) (1 << bit % 8);
      assertThrows(SealedException.class, () -> TestFiles.open(flipped, dek), "bit " + bit);
    }
    for (int length = 0; length < sealed.length; length++) {
      byte[] cut = Arrays.copyOf(sealed, length);
      assertThrows(SealedException.class, () -> TestFiles.open(cut, dek), "length " + length);
    }
  }
}
