package io.cloister.spark.broker;

import java.util.List;

/** What the job lets this program read and write. */
public record Job(List<Input> inputs, List<Output> outputs, String scratchFolder) {
  /** A dataset to read, whose sealed parts lie in {@code folder}. */
  public record Input(
      String name, String datasetId, long version, String format, String mediaType, String folder,
      int parts) {}

  /** A dataset to write: {@code folder} by name, its sealed parts in {@code partsFolder}. */
  public record Output(
      String name, String datasetId, String format, String mediaType, String folder,
      String partsFolder) {}
}
