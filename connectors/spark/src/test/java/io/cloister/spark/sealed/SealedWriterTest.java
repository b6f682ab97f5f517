package io.cloister.spark.sealed;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.cloister.spark.testing.TestFiles;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.Test;

class SealedWriterTest {
  private static FixedPart fixed(int segmentSize) {
    return new FixedPart("0".repeat(32), "1".repeat(32), "text/plain", 3, segmentSize);
  }

  @Test
  void writesWhatItReadsHoweverItIsCutUp() throws Exception {
    Random random = new Random(7);
    for (int length : new int[] {0, 1, 199, 200, 201, 439, 440, 441, 5000}) {
      byte[] plaintext = TestFiles.pattern(length);
      ByteArrayOutputStream out = new ByteArrayOutputStream();
      SealedWriter writer =
          SealedWriter.begin(out, fixed(256), 4096, TestFiles.dek(1), List.of(TestFiles.SLOT));
      for (int at = 0; at < length; ) {
        int count = Math.min(length - at, 1 + random.nextInt(400));
        if (count == 1) writer.write(plaintext[at]);
        else writer.write(plaintext, at, count);
        at += count;
      }
      assertThrows(SealedException.class, writer::lastTag);
      writer.close();
      writer.close();
      byte[] file = out.toByteArray();
      assertArrayEquals(plaintext, TestFiles.open(file, TestFiles.dek(1)));
      assertEquals(file.length, writer.fileLength());
      assertEquals(length, writer.plaintextLength());
      assertArrayEquals(
          Arrays.copyOfRange(file, file.length - 16, file.length), writer.lastTag());
      assertThrows(SealedException.class, () -> writer.write(1));
    }
  }

  @Test
  void readsAnyRange() throws Exception {
    byte[] plaintext = TestFiles.pattern(3000);
    SealedReader reader =
        TestFiles.reader(TestFiles.seal(fixed(256), TestFiles.dek(1), plaintext), TestFiles.dek(1));
    Random random = new Random(11);
    for (int i = 0; i < 2000; i++) {
      int from = random.nextInt(3000);
      byte[] into = new byte[1 + random.nextInt(900)];
      int count = reader.read(from, into, 0, into.length);
      assertEquals(Math.min(into.length, 3000 - from), count);
      assertArrayEquals(
          Arrays.copyOfRange(plaintext, from, from + count), Arrays.copyOf(into, count));
    }
    assertEquals(-1, reader.read(3000, new byte[1], 0, 1));
    assertThrows(SealedException.class, () -> reader.read(3001, new byte[1], 0, 1));
    assertThrows(SealedException.class, () -> reader.read(-1, new byte[1], 0, 1));
  }

  @Test
  void neverEndsAFileAfterAFailedWrite() throws Exception {
    int[] room = {5000};
    boolean[] closed = {false};
    OutputStream full =
        new OutputStream() {
          @Override
          public void write(int value) throws IOException {
            if (room[0]-- == 0) throw new IOException("no space");
          }

          @Override
          public void close() {
            closed[0] = true;
          }
        };
    SealedWriter writer =
        SealedWriter.begin(full, fixed(256), 4096, TestFiles.dek(1), List.of(TestFiles.SLOT));
    assertThrows(IOException.class, () -> writer.write(new byte[2000], 0, 2000));
    assertThrows(SealedException.class, () -> writer.write(1));
    assertThrows(SealedException.class, writer::close);
    assertThrows(SealedException.class, writer::lastTag);
    assertTrue(closed[0]);
  }

  @Test
  void neverPrintsAKey() throws Exception {
    Dek dek = TestFiles.dek(0x41);
    assertEquals("[Dek]", dek.toString());
    assertFalse(String.valueOf(new Object[] {dek}[0]).contains("A"));
    assertThrows(SealedException.class, () -> Dek.from(new byte[31]));
  }

  @Test
  void checksWhatAFixedPartMayBe() {
    assertThrows(IllegalArgumentException.class, () -> fixed(255));
    assertThrows(IllegalArgumentException.class, () -> fixed((1 << 24) + 1));
    assertThrows(
        IllegalArgumentException.class,
        () -> new FixedPart("0".repeat(32), "1".repeat(32), "text/\u00e9", 0, 256));
    assertThrows(
        IllegalArgumentException.class,
        () -> new FixedPart("0".repeat(32), "A".repeat(32), "text/plain", 0, 256));
    assertThrows(
        IllegalArgumentException.class,
        () -> new FixedPart("0".repeat(32), "1".repeat(32), "text/plain", 1L << 32, 256));
  }
}
