package io.cloister.spark.cluster;

import io.cloister.spark.broker.KeyBroker;
import io.cloister.spark.broker.Run;
import io.cloister.spark.fs.SealedJob;
import java.io.IOException;

/** The instance that this JVM runs in, as its init tells it. */
final class Instance {
  private final Run run;
  private final String scratchFolder;

  Instance(Run run, String scratchFolder) {
    this.run = run;
    this.scratchFolder = scratchFolder;
  }

  /** Asks init. Fails where there is none. */
  static Instance here() throws IOException {
    KeyBroker broker = SealedJob.broker();
    return new Instance(broker.run(), broker.job().scratchFolder());
  }

  Run run() {
    return run;
  }

  String scratchFolder() {
    return scratchFolder;
  }
}
