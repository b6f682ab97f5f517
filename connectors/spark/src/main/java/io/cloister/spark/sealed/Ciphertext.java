package io.cloister.spark.sealed;

import java.io.Closeable;
import java.io.IOException;

/** A sealed file's bytes as the storage holds them. */
public interface Ciphertext extends Closeable {
  /** Fills the range of {@code into} from this offset of the file, or throws EOFException. */
  void readFully(long offset, byte[] into, int start, int length) throws IOException;
}
