package io.cloister.spark.instances;

import io.cloister.spark.cluster.ExecutorMain;
import io.cloister.spark.cluster.WithoutPlugin;
import io.cloister.spark.fs.SealedJob;

/** An executor as the image has them, or without the plugin where the job names it. */
public final class ExecutorOfTest {
  private ExecutorOfTest() {}

  public static void main(String[] args) throws Exception {
    String name = SealedJob.broker().run().name();
    if (name.equals(System.getenv("WITHOUT_PLUGIN"))) WithoutPlugin.main(args);
    else ExecutorMain.main(args);
  }
}
