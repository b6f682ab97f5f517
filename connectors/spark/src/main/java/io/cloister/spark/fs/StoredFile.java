package io.cloister.spark.fs;

import io.cloister.spark.sealed.Ciphertext;
import java.io.IOException;
import org.apache.hadoop.fs.FSDataInputStream;

/** A sealed file in a Hadoop file system. */
final class StoredFile implements Ciphertext {
  private final FSDataInputStream in;

  StoredFile(FSDataInputStream in) {
    this.in = in;
  }

  // Seek and read, rather than positioned reads: object stores then go on with one request.
  @Override
  public void readFully(long offset, byte[] into, int start, int length) throws IOException {
    if (in.getPos() != offset) in.seek(offset);
    in.readFully(into, start, length);
  }

  @Override
  public void close() throws IOException {
    in.close();
  }
}
