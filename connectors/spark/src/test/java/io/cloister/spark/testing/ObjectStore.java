package io.cloister.spark.testing;

import java.io.IOException;
import java.net.URI;
import org.apache.hadoop.fs.FSDataOutputStream;
import org.apache.hadoop.fs.FileStatus;
import org.apache.hadoop.fs.Path;
import org.apache.hadoop.fs.RawLocalFileSystem;
import org.apache.hadoop.util.Progressable;

/** Files that can neither be renamed nor listed, as an object store at its worst. */
public final class ObjectStore extends RawLocalFileSystem {
  public static final String SCHEME = "objects";

  @Override
  public URI getUri() {
    return URI.create(SCHEME + ":///");
  }

  /** While set, files are begun and then fail. */
  public static volatile boolean failsAfterCreating;

  @Override
  public FSDataOutputStream create(
      Path path, boolean overwrite, int bufferSize, short replication, long blockSize,
      Progressable progress) throws IOException {
    FSDataOutputStream out =
        super.create(path, overwrite, bufferSize, replication, blockSize, progress);
    if (!failsAfterCreating) return out;
    out.close();
    throw new IOException("fails after creating");
  }

  @Override
  public boolean rename(Path from, Path to) {
    throw new AssertionError("renames " + from);
  }

  @Override
  public FileStatus[] listStatus(Path path) {
    throw new AssertionError("lists " + path);
  }
}
