package io.cloister.spark.sealed;

import static io.cloister.spark.sealed.PayloadLayout.TAG_LENGTH;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.NonWritableChannelException;
import java.nio.channels.SeekableByteChannel;

/** A file's payload for Tink to read, which keeps the last tag as it was given to Tink. */
final class PayloadChannel implements SeekableByteChannel {
  private final Ciphertext file;
  private final long start;
  private final long length;
  private final byte[] lastTag = new byte[TAG_LENGTH];
  private long position;
  private boolean open = true;

  PayloadChannel(Ciphertext file, long start, long length) {
    this.file = file;
    this.start = start;
    this.length = length;
  }

  byte[] lastTag() {
    return lastTag.clone();
  }

  @Override
  public int read(ByteBuffer into) throws IOException {
    int count = (int) Math.min(into.remaining(), length - position);
    if (count <= 0) return -1;
    int at = into.arrayOffset() + into.position();
    file.readFully(start + position, into.array(), at, count);
    into.position(into.position() + count);
    position += count;
    if (position == length && count >= TAG_LENGTH) {
      System.arraycopy(into.array(), at + count - TAG_LENGTH, lastTag, 0, TAG_LENGTH);
    }
    return count;
  }

  @Override
  public long position() {
    return position;
  }

  @Override
  public SeekableByteChannel position(long next) {
    position = next;
    return this;
  }

  @Override
  public long size() {
    return length;
  }

  @Override
  public boolean isOpen() {
    return open;
  }

  @Override
  public void close() throws IOException {
    open = false;
    file.close();
  }

  @Override
  public int write(ByteBuffer from) {
    throw new NonWritableChannelException();
  }

  @Override
  public SeekableByteChannel truncate(long size) {
    throw new NonWritableChannelException();
  }
}
