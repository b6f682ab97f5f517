package io.cloister.spark.fs;

import io.cloister.spark.broker.Part;
import java.io.IOException;

/** Files of the job that can be read. */
interface SealedDataset {
  Location folder();

  String datasetId();

  SealedParts files();

  /** The files that there are now. */
  PartTree<Part> tree() throws IOException;

  boolean isFolder(PartTree<Part> tree, String path);
}
