package io.cloister.spark.fs;

import io.cloister.spark.broker.Part;
import java.io.FileNotFoundException;
import java.io.IOException;
import java.net.URI;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.ChecksumFileSystem;
import org.apache.hadoop.fs.FSDataInputStream;
import org.apache.hadoop.fs.FSDataOutputStream;
import org.apache.hadoop.fs.FileStatus;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.Path;
import org.apache.hadoop.fs.permission.FsPermission;
import org.apache.hadoop.security.AccessControlException;
import org.apache.hadoop.util.Progressable;

/**
 * The plaintext of a job's datasets: {@code sealed+file:/in/people} is the input whose sealed parts
 * lie in {@code file:/in/people}. Which files there are the manifest says; the folder is never
 * listed. Nothing outside of the job's inputs and outputs is there.
 */
public class SealedFileSystem extends FileSystem {
  /** {@code sealed+file:}, found by Hadoop as a service. */
  public static final class OfFile extends SealedFileSystem {
    @Override
    public String getScheme() {
      return Location.PREFIX + "file";
    }
  }

  /** {@code sealed+hdfs:}, found by Hadoop as a service. */
  public static final class OfHdfs extends SealedFileSystem {
    @Override
    public String getScheme() {
      return Location.PREFIX + "hdfs";
    }
  }

  /** {@code sealed+s3a:}, found by Hadoop as a service. */
  public static final class OfS3a extends SealedFileSystem {
    @Override
    public String getScheme() {
      return Location.PREFIX + "s3a";
    }
  }

  /** {@code sealed+oss:}, found by Hadoop as a service. */
  public static final class OfOss extends SealedFileSystem {
    @Override
    public String getScheme() {
      return Location.PREFIX + "oss";
    }
  }

  private URI uri;
  private FileSystem inner;
  private Path workingDirectory;

  @Override
  public void initialize(URI name, Configuration conf) throws IOException {
    super.initialize(name, conf);
    String scheme = name.getScheme();
    if (scheme == null || !scheme.startsWith(Location.PREFIX)) {
      throw new IOException("wanted a scheme that begins with sealed+, seen " + scheme);
    }
    String authority = name.getAuthority() == null ? "" : name.getAuthority();
    uri = URI.create(scheme + "://" + authority + "/");
    workingDirectory = new Path(uri);
    Path storage = Location.ofSealed(workingDirectory).orElseThrow().inner("");
    inner = FileSystem.get(storage.toUri(), conf);
    // Its checksum files would lie beside the sealed ones, and authenticate nothing.
    if (inner instanceof ChecksumFileSystem checked) inner = checked.getRawFileSystem();
  }

  @Override
  public String getScheme() {
    return uri.getScheme();
  }

  @Override
  public URI getUri() {
    return uri;
  }

  @Override
  public FileSystem[] getChildFileSystems() {
    return new FileSystem[] {inner};
  }

  /** The file system that holds the sealed files. */
  public FileSystem storage() {
    return inner;
  }

  private Location locate(Path path) {
    Path qualified = makeQualified(path);
    checkPath(qualified);
    return Location.ofSealed(qualified).orElseThrow();
  }

  @Override
  public FSDataInputStream open(Path path, int bufferSize) throws IOException {
    Location place = locate(path);
    SealedDataset dataset = datasetAt("open", place);
    Part part = dataset.tree().file(relative(dataset, place)).orElseThrow(() -> notFound(place));
    try {
      return new FSDataInputStream(new SealedInputStream(dataset.files().open(part, inner)));
    } catch (AccessControlException refusal) {
      throw TaskRefusal.of(refusal);
    }
  }

  private static SealedDataset datasetAt(String act, Location place) throws IOException {
    return SealedJob.current()
        .dataset(place)
        .orElseThrow(
            () -> SealedJob.refuse(act, place, "a path in an input or output of the job"));
  }

  private static String relative(SealedDataset dataset, Location place) {
    return dataset.folder().relative(place).orElseThrow();
  }

  @Override
  public FSDataOutputStream create(
      Path path, FsPermission permission, boolean overwrite, int bufferSize, short replication,
      long blockSize, Progressable progress) throws IOException {
    Location place = locate(path);
    OutputDataset output = outputAt("create", place);
    return new FSDataOutputStream(output.create(output.relative(place), inner), statistics);
  }

  private static OutputDataset outputAt(String act, Location place) throws IOException {
    return SealedJob.current()
        .output(place)
        .orElseThrow(() -> SealedJob.refuse(act, place, "a path in an output of the job"));
  }

  @Override
  public FileStatus getFileStatus(Path path) throws IOException {
    Location place = locate(path);
    SealedDataset dataset = datasetAt("look at", place);
    if (dataset instanceof OutputDataset output) {
      Optional<Attempt> attempt = output.attempt(output.relative(place));
      if (attempt.isPresent()) return attemptStatus(attempt.get(), place);
    }
    return status(dataset, dataset.tree(), place);
  }

  /** What a task has just written is looked at before it is committed. */
  private FileStatus attemptStatus(Attempt attempt, Location place) throws IOException {
    WrittenPart written = attempt.written().orElseThrow(() -> notFound(place));
    return fileStatus(place, written.plaintextLength());
  }

  private FileStatus status(SealedDataset dataset, PartTree<Part> tree, Location place)
      throws IOException {
    String relative = relative(dataset, place);
    Optional<Part> part = tree.file(relative);
    if (part.isPresent()) {
      return fileStatus(place, dataset.files().plaintextLength(part.get(), inner));
    }
    if (dataset.isFolder(tree, relative)) return folderStatus(place);
    throw notFound(place);
  }

  @Override
  public FileStatus[] listStatus(Path path) throws IOException {
    FileStatus itself = getFileStatus(path);
    if (itself.isFile()) return new FileStatus[] {itself};
    Location place = locate(path);
    SealedDataset dataset = datasetAt("list", place);
    PartTree<Part> tree = dataset.tree();
    List<FileStatus> children = new ArrayList<>();
    for (String child : tree.childrenOf(relative(dataset, place))) {
      Path listed = dataset.folder().sealed(child);
      children.add(status(dataset, tree, Location.ofSealed(listed).orElseThrow()));
    }
    return children.toArray(FileStatus[]::new);
  }

  private FileStatus fileStatus(Location place, long length) {
    Path path = place.sealed("");
    return new FileStatus(length, false, 1, getDefaultBlockSize(path), 0, path);
  }

  private static FileStatus folderStatus(Location place) {
    return new FileStatus(0, true, 0, 0, 0, place.sealed(""));
  }

  private static FileNotFoundException notFound(Location place) {
    return new FileNotFoundException("no such file in the dataset: " + place.sealed(""));
  }

  /** Folders are what the paths of files make: there is nothing to do in an output. */
  @Override
  public boolean mkdirs(Path path, FsPermission permission) throws IOException {
    outputAt("make folder", locate(path));
    return true;
  }

  @Override
  public FSDataOutputStream append(Path path, int bufferSize, Progressable progress) {
    throw unsupported("append");
  }

  @Override
  public boolean rename(Path from, Path to) {
    throw unsupported("rename");
  }

  @Override
  public boolean delete(Path path, boolean recursive) {
    throw unsupported("delete");
  }

  private static UnsupportedOperationException unsupported(String act) {
    return new UnsupportedOperationException(
        act + " on sealed files: they change by the commit of a DataFrame's write alone, and not by"
            + " saveAs… of an RDD, or a stream; wanted spark.sql.sources.commitProtocolClass"
            + " io.cloister.spark.commit.SealedCommitProtocol");
  }

  @Override
  public void setWorkingDirectory(Path path) {
    workingDirectory = makeQualified(path);
  }

  @Override
  public Path getWorkingDirectory() {
    return workingDirectory;
  }
}
