package io.cloister.spark.sealed;

import static io.cloister.spark.sealed.SealedException.Code.RANGE;
import static io.cloister.spark.sealed.SealedException.Code.TAG;

import java.io.Closeable;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.SeekableByteChannel;
import java.security.GeneralSecurityException;
import java.util.Arrays;

/** An open sealed file whose header and last segment are authentic, and so its length too. */
public final class SealedReader implements Closeable {
  /** Says no key: {@link #open} asks for one after it has read what the file says it is. */
  @FunctionalInterface
  public interface KeySource {
    /** Checks whose header this is, and returns the file's DEK. */
    Dek keyOf(SealedHeader header) throws IOException;
  }

  private final String name;
  private final SealedHeader header;
  private final PayloadLayout layout;
  private final PayloadChannel payload;
  private final SeekableByteChannel plaintext;

  private SealedReader(
      String name, SealedHeader header, PayloadLayout layout, PayloadChannel payload,
      SeekableByteChannel plaintext) {
    this.name = name;
    this.header = header;
    this.layout = layout;
    this.payload = payload;
    this.plaintext = plaintext;
  }

  /**
   * Opens a file of exactly this many bytes, which the reader closes; checks the header's MAC and
   * the last segment before it returns. On failure the file stays open.
   *
   * @param name for messages
   */
  public static SealedReader open(String name, Ciphertext file, long fileLength, KeySource keys)
      throws IOException {
    try {
      SealedHeader header = SealedHeader.parse(readHeader(file));
      Dek dek = keys.keyOf(header);
      header.verify(dek);
      int segmentSize = header.fixed().segmentSize();
      PayloadLayout layout = PayloadLayout.of(fileLength - header.length(), segmentSize);
      PayloadChannel payload = new PayloadChannel(file, header.length(), layout.length());
      SeekableByteChannel plaintext =
          Payloads.suite(dek, segmentSize)
              .newSeekableDecryptingChannel(payload, header.fixedBytes());
      SealedReader reader = new SealedReader(name, header, layout, payload, plaintext);
      // Tink opens the last segment where its end is read. Its nonce says that it is the last.
      reader.read(layout.plaintextLength(), new byte[1], 0, 1);
      return reader;
    } catch (GeneralSecurityException cause) {
      throw new SealedException(TAG, name, cause);
    } catch (IOException cause) {
      throw SealedException.at(name, cause);
    }
  }

  private static byte[] readHeader(Ciphertext file) throws IOException {
    byte[] prefix = new byte[SealedHeader.PREFIX_LENGTH];
    file.readFully(0, prefix, 0, prefix.length);
    byte[] header = Arrays.copyOf(prefix, SealedHeader.lengthOf(prefix));
    file.readFully(prefix.length, header, prefix.length, header.length - prefix.length);
    return header;
  }

  public SealedHeader header() {
    return header;
  }

  /** Length of the plaintext in bytes. */
  public long length() {
    return layout.plaintextLength();
  }

  /** Tag of the last segment, as it was when that segment was authenticated. */
  public byte[] lastTag() {
    return payload.lastTag();
  }

  /**
   * Reads up to {@code length} bytes of plaintext, all of whole authentic segments.
   *
   * @return how many, or -1 at the end
   */
  public int read(long position, byte[] into, int start, int length) throws IOException {
    if (position < 0 || position > length()) {
      throw new SealedException(
          RANGE, name + ": wanted an offset up to " + length() + ", seen " + position);
    }
    try {
      return plaintext.position(position).read(ByteBuffer.wrap(into, start, length));
    } catch (IOException cause) {
      throw SealedException.at(name + " at plaintext offset " + position, cause);
    }
  }

  @Override
  public void close() throws IOException {
    plaintext.close();
  }
}
