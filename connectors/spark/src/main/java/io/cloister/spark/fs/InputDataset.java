package io.cloister.spark.fs;

import io.cloister.spark.broker.Job;
import io.cloister.spark.broker.KeyBroker;
import io.cloister.spark.broker.Part;
import java.io.IOException;
import java.util.Optional;

/** A dataset that the job reads: the parts of its manifest, never what its folder holds. */
final class InputDataset implements SealedDataset {
  private final KeyBroker broker;
  private final Job.Input input;
  private final Location folder;
  private final SealedParts files;
  private PartTree<Part> tree;

  InputDataset(KeyBroker broker, Job.Input input) {
    this.broker = broker;
    this.input = input;
    this.folder = Location.ofFolder(input.folder());
    this.files =
        new SealedParts(
            "input " + input.name(), input.datasetId(), folder,
            part -> broker.open(input.name(), part.fileId()));
  }

  @Override
  public Location folder() {
    return folder;
  }

  String name() {
    return input.name();
  }

  @Override
  public String datasetId() {
    return input.datasetId();
  }

  @Override
  public SealedParts files() {
    return files;
  }

  @Override
  public synchronized PartTree<Part> tree() throws IOException {
    if (tree == null) tree = new PartTree<>(broker.parts(input), Part::path);
    return tree;
  }

  /** An input is there, though it may have no file. */
  @Override
  public boolean isFolder(PartTree<Part> tree, String path) {
    return path.isEmpty() || tree.isFolder(path);
  }

  Optional<Part> part(String path) throws IOException {
    return tree().file(path);
  }
}
