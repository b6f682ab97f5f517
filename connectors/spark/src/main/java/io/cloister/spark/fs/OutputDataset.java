package io.cloister.spark.fs;

import static io.cloister.spark.sealed.SealedException.Code.WRITER_STATE;

import io.cloister.spark.broker.Job;
import io.cloister.spark.broker.KeyBroker;
import io.cloister.spark.broker.Part;
import io.cloister.spark.broker.Written;
import io.cloister.spark.sealed.SealedException;
import java.io.IOException;
import java.io.OutputStream;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.function.Predicate;
import org.apache.hadoop.fs.FileSystem;

/**
 * A dataset that the job writes: the files of running tasks, and those that this run has committed,
 * which can be read back.
 */
public final class OutputDataset implements SealedDataset {
  private static final long NEVER_ASKED = -1;

  private final KeyBroker broker;
  private final Job.Output output;
  private final Location folder;
  private final Location partsFolder;
  private final Map<String, Attempt> attempts = new ConcurrentHashMap<>();
  private final SealedParts files;
  private Written written = new Written(NEVER_ASKED, List.of());
  private PartTree<Part> tree = treeOf(List.of());

  OutputDataset(KeyBroker broker, Job.Output output) throws SealedException {
    this.broker = broker;
    this.output = output;
    this.folder = Location.ofFolder(output.folder());
    this.partsFolder = Location.ofFolder(output.partsFolder());
    this.files =
        new SealedParts(
            "output " + output.name(), output.datasetId(), partsFolder,
            part -> broker.reopen(output.name(), part.fileId()));
  }

  private static PartTree<Part> treeOf(List<Part> parts) throws SealedException {
    return new PartTree<>(parts, Part::path);
  }

  @Override
  public Location folder() {
    return folder;
  }

  @Override
  public String datasetId() {
    return output.datasetId();
  }

  @Override
  public SealedParts files() {
    return files;
  }

  /** The way from the output's folder to a place in it. */
  public String relative(Location place) {
    return folder.relative(place).orElseThrow();
  }

  /** Lets a task write one file at this path. */
  public void expect(String path) throws SealedException {
    Part.assertPath(path);
    if (attempts.putIfAbsent(path, new Attempt(path)) != null) {
      throw new SealedException(WRITER_STATE, path + " is another attempt's");
    }
  }

  OutputStream create(String path, FileSystem inner) throws IOException {
    Attempt attempt = attempts.get(path);
    if (attempt == null) {
      throw new SealedException(
          WRITER_STATE,
          "create " + folder.sealed(path) + ": wanted a DataFrame's write, whose commit protocol"
              + " (spark.sql.sources.commitProtocolClass) is"
              + " io.cloister.spark.commit.SealedCommitProtocol, seen another: saveAs… of an RDD, or a"
              + " stream, has one of its own");
    }
    return attempt.begin(broker, output, partsFolder, inner);
  }

  /** Ends a task's attempt: what it wrote is the caller's to commit. */
  public List<WrittenPart> take(Collection<String> paths) throws SealedException {
    List<WrittenPart> parts = new ArrayList<>();
    for (String path : paths) attempts.get(path).commit().ifPresent(parts::add);
    paths.forEach(attempts::remove);
    return parts;
  }

  /** Ends a task's attempt without a trace. */
  public void abort(Collection<String> paths) throws IOException {
    for (String path : paths) {
      Attempt attempt = attempts.remove(path);
      if (attempt != null) attempt.discard();
    }
  }

  /** Removes the files of parts that no job will commit. */
  public void discard(Collection<WrittenPart> parts, FileSystem inner) throws IOException {
    for (WrittenPart written : parts) {
      inner.delete(partsFolder.inner(written.part().name()), false);
    }
  }

  /** Commits parts, in the place of those committed before whose path is {@code replaced}. */
  public synchronized void commit(List<WrittenPart> added, Predicate<String> replaced)
      throws IOException {
    List<Part> parts = added.stream().map(WrittenPart::part).toList();
    List<Part> all = new ArrayList<>(written().parts());
    boolean replaces = all.removeIf(part -> replaced.test(part.path()));
    all.addAll(parts);
    assertNumbers(all);
    treeOf(all);
    broker.commit(
        output.name(), replaces ? KeyBroker.Mode.REPLACE : KeyBroker.Mode.APPEND,
        replaces ? all : parts);
    for (WrittenPart part : added) files.know(part.part(), part.plaintextLength());
  }

  private static void assertNumbers(List<Part> parts) throws SealedException {
    Set<Long> numbers = new HashSet<>();
    for (Part part : parts) {
      if (!numbers.add(part.number())) {
        throw new SealedException(
            WRITER_STATE, "two JVMs chose part number " + part.number() + ": run it again");
      }
    }
  }

  @Override
  public synchronized PartTree<Part> tree() throws IOException {
    written();
    return tree;
  }

  /** An output is there once something was committed to it. */
  @Override
  public boolean isFolder(PartTree<Part> tree, String path) {
    return tree.isFolder(path);
  }

  /** What this run has committed, in whatever JVM: executors read what their driver committed. */
  private Written written() throws IOException {
    Optional<Written> newer = broker.writtenSince(output.name(), written.commits());
    if (newer.isPresent()) {
      tree = treeOf(newer.get().parts());
      written = newer.get();
    }
    return written;
  }

  /** What a task of this JVM writes at a path, where one does. */
  Optional<Attempt> attempt(String path) {
    return Optional.ofNullable(attempts.get(path));
  }
}
