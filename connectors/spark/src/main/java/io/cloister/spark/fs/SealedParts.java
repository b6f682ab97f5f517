package io.cloister.spark.fs;

import static io.cloister.spark.sealed.SealedException.Code.PART_CHANGED;
import static io.cloister.spark.sealed.SealedException.Code.PART_FOREIGN;
import static io.cloister.spark.sealed.SealedException.Code.PART_MISSING;

import io.cloister.spark.broker.Part;
import io.cloister.spark.sealed.Dek;
import io.cloister.spark.sealed.FixedPart;
import io.cloister.spark.sealed.SealedException;
import io.cloister.spark.sealed.SealedHeader;
import io.cloister.spark.sealed.SealedReader;
import java.io.IOException;
import java.util.HexFormat;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import org.apache.hadoop.fs.FSDataInputStream;
import org.apache.hadoop.fs.FileStatus;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.Path;

/** The sealed files of a dataset's parts, each taken for what its list of parts says of it. */
final class SealedParts {
  /** Asks for the key of a part's file. */
  interface Keys {
    Dek keyOf(Part part) throws IOException;
  }

  private final String label;
  private final String datasetId;
  private final Location folder;
  private final Keys keys;
  private final Map<String, Long> plaintextLengths = new ConcurrentHashMap<>();

  /**
   * @param label what errors call the dataset
   * @param folder where the sealed files lie
   */
  SealedParts(String label, String datasetId, Location folder, Keys keys) {
    this.label = label;
    this.datasetId = datasetId;
    this.folder = folder;
    this.keys = keys;
  }

  /**
   * The length of a part's plaintext: from the manifest, and from the file's fixed part once that
   * has the manifest's digest. So it is authentic, though nothing was decrypted.
   */
  long plaintextLength(Part part, FileSystem inner) throws IOException {
    Long known = plaintextLengths.get(part.fileId());
    if (known != null) return known;
    try (FSDataInputStream in = inner.open(sealedFile(part))) {
      byte[] fixedBytes = SealedHeader.fixedBytesOf(in.readNBytes(SealedHeader.MAX_FIXED_LENGTH));
      assertFixed(part, fixedBytes);
      long length = SealedHeader.plaintextLength(fixedBytes, part.length());
      plaintextLengths.put(part.fileId(), length);
      return length;
    } catch (IOException cause) {
      throw SealedException.at(name(part), cause);
    }
  }

  /** Takes note of a length that is known already. */
  void know(Part part, long plaintextLength) {
    plaintextLengths.put(part.fileId(), plaintextLength);
  }

  /** Opens a part; everything that the manifest says of it holds when this returns. */
  SealedReader open(Part part, FileSystem inner) throws IOException {
    Path file = sealedFile(part);
    FSDataInputStream in = null;
    try {
      assertLength(part, inner.getFileStatus(file));
      in = inner.open(file);
      SealedReader reader =
          SealedReader.open(
              name(part), new StoredFile(in), part.length(), header -> keyOf(part, header));
      String lastTag = HexFormat.of().formatHex(reader.lastTag());
      if (!lastTag.equals(part.lastTag())) {
        throw changed("last tag", part.lastTag(), lastTag);
      }
      return reader;
    } catch (IOException cause) {
      if (in != null) in.close();
      throw SealedException.at(name(part), cause);
    }
  }

  private Dek keyOf(Part part, SealedHeader header) throws IOException {
    FixedPart fixed = header.fixed();
    assertSame("dataset id", datasetId, fixed.datasetId());
    assertSame("file id", part.fileId(), fixed.fileId());
    assertSame("part number", part.number(), fixed.part());
    assertFixed(part, header.fixedBytes());
    return keys.keyOf(part);
  }

  private static void assertSame(String what, Object wanted, Object seen) throws SealedException {
    if (!wanted.equals(seen)) {
      throw new SealedException(PART_FOREIGN, what + ": wanted " + wanted + ", seen " + seen);
    }
  }

  private static void assertFixed(Part part, byte[] fixedBytes) throws SealedException {
    String digest = SealedHeader.digestOf(fixedBytes);
    if (!digest.equals(part.fixedDigest())) {
      throw changed("fixed digest", part.fixedDigest(), digest);
    }
  }

  private static void assertLength(Part part, FileStatus status) throws SealedException {
    if (!status.isFile()) throw new SealedException(PART_MISSING, "not a regular file");
    if (status.getLen() != part.length()) throw changed("length", part.length(), status.getLen());
  }

  private static SealedException changed(String what, Object wanted, Object seen) {
    return new SealedException(PART_CHANGED, what + ": wanted " + wanted + ", seen " + seen);
  }

  private Path sealedFile(Part part) {
    return folder.inner(part.name());
  }

  private String name(Part part) {
    return label + ", part " + part.name() + " (" + part.path() + ")";
  }
}
