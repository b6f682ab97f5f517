package io.cloister.spark.sealed;

import java.io.EOFException;
import java.io.FileNotFoundException;
import java.io.IOException;
import java.io.InterruptedIOException;
import java.nio.channels.ClosedByInterruptException;
import java.security.GeneralSecurityException;
import org.apache.hadoop.security.AccessControlException;

/**
 * A sealed file or part that is not what it must be.
 *
 * <p>An {@link AccessControlException}, since Spark skips files that fail with any other exception
 * where {@code spark.sql.files.ignoreCorruptFiles} or {@code ignoreMissingFiles} is set: whoever
 * holds the storage could then leave out data unseen. Where a reader wraps it, the task fails all
 * the same, at its end.
 */
public final class SealedException extends AccessControlException {
  /** What is wrong, in the words of docs/formats/sealed.md and docs/formats/dataset.md. */
  public enum Code {
    MAGIC,
    VERSION,
    TRUNCATED,
    TRAILING_BYTES,
    HEADER,
    LIMIT,
    NO_SLOT,
    COMPRESSED,
    HEADER_MAC,
    TAG,
    RANGE,
    PART_MISSING,
    PART_FOREIGN,
    PART_CHANGED,
    PATH,
    WRITER_STATE,
    IO
  }

  private final Code code;

  public SealedException(Code code, String message) {
    super(code + ": " + message);
    this.code = code;
  }

  public SealedException(Code code, String message, Throwable cause) {
    this(code, message);
    initCause(cause);
  }

  public Code code() {
    return code;
  }

  /**
   * Says where reading failed. Whatever the storage answered becomes a {@link SealedException}:
   * an I/O error too is something that it can choose.
   */
  public static IOException at(String where, IOException cause) {
    if (cause instanceof ClosedByInterruptException || cause instanceof InterruptedIOException) {
      return cause;
    }
    if (cause instanceof SealedException sealed) {
      // The reader of a file that is refused as it is opened has said it already.
      if (sealed.getMessage().startsWith(sealed.code + ": " + where)) return sealed;
      return new SealedException(sealed.code, where + ": " + sealed.getMessage(), sealed);
    }
    if (cause instanceof AccessControlException) return cause;
    if (cause instanceof EOFException) {
      return new SealedException(Code.TRUNCATED, where + ": the file ends early", cause);
    }
    if (cause instanceof FileNotFoundException) {
      return new SealedException(Code.PART_MISSING, where + ": no such file", cause);
    }
    if (cause.getCause() instanceof GeneralSecurityException) {
      return new SealedException(Code.TAG, where + ": a segment is not authentic", cause);
    }
    return new SealedException(Code.IO, where + ": " + cause.getMessage(), cause);
  }
}
