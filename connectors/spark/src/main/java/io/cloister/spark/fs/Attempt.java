package io.cloister.spark.fs;

import static io.cloister.spark.sealed.SealedException.Code.WRITER_STATE;

import io.cloister.spark.broker.CreatedFile;
import io.cloister.spark.broker.Job;
import io.cloister.spark.broker.KeyBroker;
import io.cloister.spark.broker.Part;
import io.cloister.spark.sealed.FixedPart;
import io.cloister.spark.sealed.SealedException;
import io.cloister.spark.sealed.SealedHeader;
import io.cloister.spark.sealed.SealedWriter;
import java.io.FilterOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.security.SecureRandom;
import java.util.HexFormat;
import java.util.Optional;
import java.util.concurrent.atomic.AtomicLong;
import org.apache.hadoop.fs.FSDataOutputStream;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.Path;
import org.apache.hadoop.fs.StreamCapabilities;

/** One file of a task attempt: expected, then being written, then written. */
final class Attempt {
  private static final SecureRandom RANDOM = new SecureRandom();
  private static final int FIRST_HEADER_LENGTH = 4096;

  // Counted from a random start: a random number for each file would soon be there twice, since
  // other JVMs write parts of the same dataset and know nothing of each other.
  private static final AtomicLong NUMBERS = new AtomicLong(RANDOM.nextInt());

  private final String path;
  private FileSystem storage;
  private Path file;
  private WrittenPart written;

  Attempt(String path) {
    this.path = path;
  }

  /** A file's fixed part, its header's length, and its key. */
  private record Keyed(FixedPart fixed, int headerLength, CreatedFile key) {}

  /** Begins to write, once. */
  synchronized OutputStream begin(
      KeyBroker broker, Job.Output output, Location partsFolder, FileSystem inner)
      throws IOException {
    if (file != null) throw new SealedException(WRITER_STATE, path + " is being written already");
    Keyed keyed = keyed(broker, output, FIRST_HEADER_LENGTH);
    FixedPart fixed = keyed.fixed();
    storage = inner;
    file = partsFolder.inner(String.format("part-%05d-%s.sealed", fixed.part(), fixed.fileId()));
    SealedWriter writer =
        SealedWriter.begin(
            new DurableOutput(inner.create(file, false)), fixed, keyed.headerLength(),
            keyed.key().dek(), keyed.key().slots());
    return new FilterOutputStream(writer) {
      private boolean closed;

      @Override
      public void write(byte[] from, int start, int length) throws IOException {
        writer.write(from, start, length);
      }

      @Override
      public void close() throws IOException {
        if (closed) return;
        closed = true;
        writer.close();
        end(keyed, writer);
      }
    };
  }

  /**
   * Asks for a key. The header's length is in the digest that the key is wrapped for, so it is
   * chosen before the slots are known, and once more where they do not fit.
   */
  private static Keyed keyed(KeyBroker broker, Job.Output output, int headerLength)
      throws IOException {
    byte[] id = new byte[16];
    RANDOM.nextBytes(id);
    FixedPart fixed =
        new FixedPart(
            output.datasetId(), HexFormat.of().formatHex(id), output.mediaType(),
            Integer.toUnsignedLong((int) NUMBERS.getAndIncrement()),
            FixedPart.DEFAULT_SEGMENT_SIZE);
    String digest = digestOf(fixed, headerLength);
    CreatedFile key = broker.create(output.name(), fixed.fileId(), digest);
    int needed = SealedHeader.lengthFor(fixed, key.slots());
    if (needed > headerLength) return keyed(broker, output, needed);
    return new Keyed(fixed, headerLength, key);
  }

  private static String digestOf(FixedPart fixed, int headerLength) {
    return SealedHeader.digestOf(SealedHeader.encodeFixed(fixed, headerLength));
  }

  private synchronized void end(Keyed keyed, SealedWriter writer) throws IOException {
    FixedPart fixed = keyed.fixed();
    Part part =
        new Part(
            fixed.part(), file.getName(), path, fixed.fileId(),
            digestOf(fixed, keyed.headerLength()), writer.fileLength(),
            HexFormat.of().formatHex(writer.lastTag()), -1);
    written = new WrittenPart(part, writer.plaintextLength());
  }

  synchronized Optional<WrittenPart> written() {
    return Optional.ofNullable(written);
  }

  /** What a task commits: the file, or nothing where none was ever begun. */
  synchronized Optional<WrittenPart> commit() throws SealedException {
    if (file != null && written == null) {
      throw new SealedException(WRITER_STATE, path + " has not been written to its end");
    }
    return written();
  }

  /** Removes what was written, as far as the storage lets us: no manifest will name it. */
  synchronized void discard() throws IOException {
    if (file != null) storage.delete(file, false);
  }

  /** A file that is on the disk once it is closed, where the storage knows such a thing. */
  private static final class DurableOutput extends FilterOutputStream {
    private final FSDataOutputStream file;

    DurableOutput(FSDataOutputStream file) {
      super(file);
      this.file = file;
    }

    @Override
    public void write(byte[] from, int start, int length) throws IOException {
      file.write(from, start, length);
    }

    @Override
    public void close() throws IOException {
      try (file) {
        if (file.hasCapability(StreamCapabilities.HSYNC)) file.hsync();
      }
    }
  }
}
