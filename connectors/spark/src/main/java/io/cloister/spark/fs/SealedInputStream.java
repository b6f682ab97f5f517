package io.cloister.spark.fs;

import io.cloister.spark.sealed.SealedReader;
import java.io.EOFException;
import java.io.IOException;
import org.apache.hadoop.fs.FSInputStream;
import org.apache.hadoop.security.AccessControlException;

/** A part's plaintext, as Hadoop reads files. */
final class SealedInputStream extends FSInputStream {
  private final SealedReader reader;
  private long position;

  SealedInputStream(SealedReader reader) {
    this.reader = reader;
  }

  @Override
  public synchronized int read() throws IOException {
    byte[] one = new byte[1];
    return read(one, 0, 1) < 0 ? -1 : Byte.toUnsignedInt(one[0]);
  }

  @Override
  public synchronized int read(byte[] into, int start, int length) throws IOException {
    int count = read(position, into, start, length);
    if (count > 0) position += count;
    return count;
  }

  @Override
  public synchronized int read(long from, byte[] into, int start, int length) throws IOException {
    if (length == 0) return 0;
    if (from >= reader.length()) return -1;
    try {
      return reader.read(from, into, start, length);
    } catch (AccessControlException refusal) {
      throw TaskRefusal.of(refusal);
    }
  }

  @Override
  public synchronized void seek(long target) throws IOException {
    if (target < 0 || target > reader.length()) {
      throw new EOFException("wanted an offset up to " + reader.length() + ", seen " + target);
    }
    position = target;
  }

  @Override
  public synchronized long getPos() {
    return position;
  }

  @Override
  public boolean seekToNewSource(long target) {
    return false;
  }

  @Override
  public synchronized int available() {
    return (int) Math.min(Integer.MAX_VALUE, reader.length() - position);
  }

  @Override
  public synchronized void close() throws IOException {
    reader.close();
  }
}
