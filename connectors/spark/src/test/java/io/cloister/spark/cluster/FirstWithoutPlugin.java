package io.cloister.spark.cluster;

/** Executors of which the first does not load the plugin. */
public final class FirstWithoutPlugin {
  private FirstWithoutPlugin() {}

  public static void main(String[] args) throws Exception {
    if (Instance.here().run().executorId().equals("1")) WithoutPlugin.main(args);
    else ExecutorMain.main(args);
  }
}
