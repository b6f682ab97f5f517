package io.cloister.spark.sealed;

import static io.cloister.spark.sealed.SealedException.Code.LIMIT;

/** A data encryption key: 32 secret bytes that never print and are never serialised. */
public final class Dek {
  public static final int LENGTH = 32;

  private final byte[] bytes;

  private Dek(byte[] bytes) {
    this.bytes = bytes;
  }

  /** Copies the bytes into a key. */
  public static Dek from(byte[] bytes) throws SealedException {
    if (bytes.length != LENGTH) {
      throw new SealedException(LIMIT, "a DEK is " + LENGTH + " bytes, not " + bytes.length);
    }
    return new Dek(bytes.clone());
  }

  byte[] bytes() {
    return bytes;
  }

  @Override
  public String toString() {
    return "[Dek]";
  }
}
