package io.cloister.spark.testing;

import java.net.URI;
import org.apache.hadoop.fs.FileStatus;
import org.apache.hadoop.fs.Path;
import org.apache.hadoop.fs.RawLocalFileSystem;

/** Files that can neither be renamed nor listed, as an object store at its worst. */
public final class ObjectStore extends RawLocalFileSystem {
  public static final String SCHEME = "objects";

  @Override
  public URI getUri() {
    return URI.create(SCHEME + ":///");
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
