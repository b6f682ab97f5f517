package io.cloister.spark.testing;

import io.cloister.spark.sealed.Ciphertext;
import io.cloister.spark.sealed.Dek;
import io.cloister.spark.sealed.FixedPart;
import io.cloister.spark.sealed.SealedReader;
import io.cloister.spark.sealed.SealedWriter;
import io.cloister.spark.sealed.Slot;
import java.io.ByteArrayOutputStream;
import java.io.EOFException;
import java.io.IOException;
import java.util.List;

/** Sealed files in memory. */
public final class TestFiles {
  public static final Slot SLOT = new Slot("kms", "cmk", 1, new byte[60]);

  private TestFiles() {}

  public static Dek dek(int fill) throws IOException {
    byte[] bytes = new byte[Dek.LENGTH];
    java.util.Arrays.fill(bytes, (byte) fill);
    return Dek.from(bytes);
  }

  public static byte[] pattern(int length) {
    byte[] bytes = new byte[length];
    for (int i = 0; i < length; i++) bytes[i] = (byte) (i * 7 + 3);
    return bytes;
  }

  public static byte[] seal(FixedPart fixed, Dek dek, byte[] plaintext) throws IOException {
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    try (SealedWriter writer = SealedWriter.begin(out, fixed, 4096, dek, List.of(SLOT))) {
      writer.write(plaintext, 0, plaintext.length);
    }
    return out.toByteArray();
  }

  public static SealedReader reader(byte[] file, Dek dek) throws IOException {
    return SealedReader.open("test", inMemory(file), file.length, header -> dek);
  }

  public static byte[] open(byte[] file, Dek dek) throws IOException {
    SealedReader reader = reader(file, dek);
    byte[] plaintext = new byte[Math.toIntExact(reader.length())];
    for (int at = 0; at < plaintext.length; ) {
      at += reader.read(at, plaintext, at, plaintext.length - at);
    }
    return plaintext;
  }

  private static Ciphertext inMemory(byte[] file) {
    return new Ciphertext() {
      @Override
      public void readFully(long offset, byte[] into, int start, int length) throws IOException {
        if (offset + length > file.length) throw new EOFException();
        System.arraycopy(file, (int) offset, into, start, length);
      }

      @Override
      public void close() {}
    };
  }
}
