package io.cloister.spark.fs;

import static io.cloister.spark.sealed.SealedException.Code.WRITER_STATE;

import io.cloister.spark.broker.Job;
import io.cloister.spark.broker.KeyBroker;
import io.cloister.spark.broker.Part;
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

/** A dataset that the job writes: the files of running tasks, and those that a job committed. */
public final class OutputDataset {
  private final KeyBroker broker;
  private final Job.Output output;
  private final Location folder;
  private final Location partsFolder;
  private final Map<String, Attempt> attempts = new ConcurrentHashMap<>();
  private List<WrittenPart> committed = List.of();
  private PartTree<WrittenPart> tree = treeOf(List.of());

  OutputDataset(KeyBroker broker, Job.Output output) throws SealedException {
    this.broker = broker;
    this.output = output;
    this.folder = Location.ofFolder(output.folder());
    this.partsFolder = Location.ofFolder(output.partsFolder());
  }

  private static PartTree<WrittenPart> treeOf(List<WrittenPart> parts) throws SealedException {
    return new PartTree<>(parts, written -> written.part().path());
  }

  public Location folder() {
    return folder;
  }

  String datasetId() {
    return output.datasetId();
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
          "create " + folder.sealed(path) + ": wanted a path of a task whose commit protocol is"
              + " io.cloister.spark.commit.SealedCommitProtocol (set"
              + " spark.sql.sources.commitProtocolClass), seen another");
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
    List<WrittenPart> all = new ArrayList<>(committed);
    boolean replaces = all.removeIf(written -> replaced.test(written.part().path()));
    all.addAll(added);
    assertNumbers(all);
    PartTree<WrittenPart> next = treeOf(all);
    broker.commit(
        output.name(),
        replaces ? KeyBroker.Mode.REPLACE : KeyBroker.Mode.APPEND,
        (replaces ? all : added).stream().map(WrittenPart::part).toList());
    committed = List.copyOf(all);
    tree = next;
  }

  private static void assertNumbers(List<WrittenPart> parts) throws SealedException {
    Set<Long> numbers = new HashSet<>();
    for (WrittenPart written : parts) {
      if (!numbers.add(written.part().number())) {
        throw new SealedException(
            WRITER_STATE,
            "two JVMs chose part number " + written.part().number() + ": run it again");
      }
    }
  }

  synchronized PartTree<WrittenPart> tree() {
    return tree;
  }

  /** A file that was committed, or that a task of this JVM has just written. */
  Optional<WrittenPart> file(String path) {
    Attempt attempt = attempts.get(path);
    return attempt == null ? tree().file(path) : attempt.written();
  }
}
