package io.cloister.spark.fs;

import io.cloister.spark.broker.Job;
import io.cloister.spark.broker.KeyBroker;
import io.cloister.spark.sealed.SealedException;
import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import org.apache.hadoop.fs.Path;
import org.apache.spark.SparkConf;
import org.apache.spark.SparkEnv;

/** The inputs and outputs of the job that this JVM is part of, as the key broker tells them. */
public final class SealedJob {
  private static final String BROKER_VARIABLE = "CLOISTER_KEY_BROKER";

  private static SealedJob current;
  private static SparkEnv looked;
  private static KeyBroker broker;

  private final List<InputDataset> inputs = new ArrayList<>();
  private final List<OutputDataset> outputs = new ArrayList<>();

  private SealedJob(KeyBroker broker) throws IOException {
    Job job = broker.job();
    for (Job.Input input : job.inputs()) inputs.add(new InputDataset(broker, input));
    for (Job.Output output : job.outputs()) outputs.add(new OutputDataset(broker, output));
  }

  public static synchronized SealedJob current() throws IOException {
    if (current == null) current = new SealedJob(broker());
    SparkEnv spark = SparkEnv.get();
    if (spark != null && spark != looked) {
      current.assertSpillsElsewhere(spark.conf(), System.getenv("SPARK_LOCAL_DIRS"));
      looked = spark;
    }
    return current;
  }

  /**
   * Refuses a Spark whose shuffle files, which are plaintext, would lie in a dataset's folder and so
   * with the host.
   */
  void assertSpillsElsewhere(SparkConf conf, String localDirs) throws SealedException {
    String folders = localDirs == null ? conf.get("spark.local.dir", "/tmp") : localDirs;
    for (String folder : folders.split(",")) {
      if (folder.isBlank() || dataset(Location.ofPlain(new Path(folder.trim()))).isEmpty()) continue;
      throw new SealedException(
          SealedException.Code.PATH,
          "spark.local.dir: wanted a folder in the instance's memory, as /tmp, seen " + folder.trim()
              + ", which lies with the host");
    }
  }

  /** The key broker of this instance. */
  public static synchronized KeyBroker broker() throws IOException {
    if (broker == null) {
      String socket = System.getenv(BROKER_VARIABLE);
      if (socket == null) {
        throw new IOException(
            BROKER_VARIABLE + " is not set: sealed paths are there in an instance whose image has"
                + " `entry.interface: keys`");
      }
      broker = new KeyBroker(java.nio.file.Path.of(socket));
    }
    return broker;
  }

  /**
   * Refuses a plain path that leads into a folder of the job: what is written there as it is would lie
   * with the host in plaintext.
   */
  public static void assertNoDatasetAt(Path plain) throws IOException {
    if (System.getenv(BROKER_VARIABLE) == null && !hasBroker()) return;
    Location place = Location.ofPlain(plain);
    if (current().dataset(place).isEmpty()) return;
    throw new SealedException(
        SealedException.Code.PATH,
        "write " + plain + ": it is a dataset's folder, where the host reads what is not sealed; wanted "
            + place.sealed("") + " (or spark.hadoop.fs.defaultFS sealed+file:///)");
  }

  private static synchronized boolean hasBroker() {
    return broker != null;
  }

  /** Makes a job of another broker the current one. */
  static synchronized void use(java.nio.file.Path socket) throws IOException {
    broker = new KeyBroker(socket);
    current = new SealedJob(broker);
  }

  /** The input that a place is in. */
  Optional<InputDataset> input(Location place) {
    return inputs.stream().filter(it -> it.folder().relative(place).isPresent()).findFirst();
  }

  /** The output that a place is in. */
  public Optional<OutputDataset> output(Location place) {
    return outputs.stream().filter(it -> it.folder().relative(place).isPresent()).findFirst();
  }

  /** Where a file of an input is, as Spark names it. */
  public Optional<Path> inputFile(String input, String path) throws IOException {
    for (InputDataset candidate : inputs) {
      if (candidate.name().equals(input) && candidate.part(path).isPresent()) {
        return Optional.of(candidate.folder().sealed(path));
      }
    }
    return Optional.empty();
  }

  /** The dataset that a place is in. */
  Optional<SealedDataset> dataset(Location place) {
    return input(place).map(SealedDataset.class::cast).or(() -> output(place));
  }

  /** The id of the dataset that a place is in. */
  public String datasetId(Location place) {
    return dataset(place)
        .map(SealedDataset::datasetId)
        .orElseThrow(() -> new IllegalArgumentException("no dataset of the job is at " + place));
  }

  /** That a path is not one that the job may be asked for. */
  public static SealedException refuse(String act, Location place, String wanted) {
    return new SealedException(
        SealedException.Code.PATH, act + " " + place.sealed("") + ": wanted " + wanted);
  }
}
