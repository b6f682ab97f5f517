package io.cloister.spark.sealed;

import static io.cloister.spark.sealed.PayloadLayout.TAG_LENGTH;
import static io.cloister.spark.sealed.SealedException.Code.WRITER_STATE;

import java.io.IOException;
import java.io.OutputStream;
import java.nio.ByteBuffer;
import java.nio.channels.WritableByteChannel;
import java.security.GeneralSecurityException;
import java.util.List;

/** Writes one sealed file: plaintext in, header and payload out. */
public final class SealedWriter extends OutputStream {
  private final Sink sink;
  private final WritableByteChannel plaintext;
  private long plaintextLength;
  private boolean failed;
  private boolean closed;

  private SealedWriter(Sink sink, WritableByteChannel plaintext) {
    this.sink = sink;
    this.plaintext = plaintext;
  }

  /** Begins a file; closes {@code out} with the writer. */
  public static SealedWriter begin(
      OutputStream out, FixedPart fixed, int headerLength, Dek dek, List<Slot> slots)
      throws IOException {
    Sink sink = new Sink(out);
    try {
      byte[] fixedBytes = SealedHeader.encodeFixed(fixed, headerLength);
      sink.write(ByteBuffer.wrap(SealedHeader.encode(fixedBytes, slots, headerLength, dek)));
      return new SealedWriter(
          sink, Payloads.suite(dek, fixed.segmentSize()).newEncryptingChannel(sink, fixedBytes));
    } catch (IOException | GeneralSecurityException cause) {
      sink.close();
      throw new IOException("the file cannot be begun: " + cause.getMessage(), cause);
    }
  }

  @Override
  public void write(int value) throws IOException {
    write(new byte[] {(byte) value}, 0, 1);
  }

  @Override
  public void write(byte[] from, int start, int length) throws IOException {
    assertUsable();
    failed = true;
    ByteBuffer bytes = ByteBuffer.wrap(from, start, length);
    while (bytes.hasRemaining()) plaintext.write(bytes);
    plaintextLength += length;
    failed = false;
  }

  /** Ends the file. After a failed write it throws, and the file stays unfinished. */
  @Override
  public void close() throws IOException {
    if (closed) return;
    closed = true;
    if (failed) {
      sink.close();
      throw new SealedException(WRITER_STATE, "a write failed before: the file is not whole");
    }
    failed = true;
    plaintext.close();
    failed = false;
  }

  private void assertUsable() throws SealedException {
    if (closed || failed) {
      throw new SealedException(WRITER_STATE, "the file is closed or a write failed before");
    }
  }

  /** Length of the whole file, once it is closed. */
  public long fileLength() throws SealedException {
    assertWhole();
    return sink.written;
  }

  /** Tag of the last segment, once the file is closed. */
  public byte[] lastTag() throws SealedException {
    assertWhole();
    return sink.tail.clone();
  }

  public long plaintextLength() {
    return plaintextLength;
  }

  private void assertWhole() throws SealedException {
    if (!closed || failed) throw new SealedException(WRITER_STATE, "the file is not whole yet");
  }

  /** Where ciphertext goes; knows how much went there, and the last of it. */
  private static final class Sink implements WritableByteChannel {
    private final OutputStream out;
    private final byte[] tail = new byte[TAG_LENGTH];
    private long written;
    private boolean open = true;

    Sink(OutputStream out) {
      this.out = out;
    }

    @Override
    public int write(ByteBuffer from) throws IOException {
      int count = from.remaining();
      byte[] bytes = new byte[count];
      from.get(bytes);
      out.write(bytes);
      int kept = Math.min(count, TAG_LENGTH);
      System.arraycopy(tail, kept, tail, 0, TAG_LENGTH - kept);
      System.arraycopy(bytes, count - kept, tail, TAG_LENGTH - kept, kept);
      written += count;
      return count;
    }

    @Override
    public boolean isOpen() {
      return open;
    }

    @Override
    public void close() throws IOException {
      if (!open) return;
      open = false;
      out.close();
    }
  }
}
