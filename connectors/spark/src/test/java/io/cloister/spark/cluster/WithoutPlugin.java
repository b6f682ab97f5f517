package io.cloister.spark.cluster;

import io.cloister.spark.broker.Run;
import org.apache.spark.executor.CoarseGrainedExecutorBackend;

/** An executor that does as others do, and does not load the plugin. */
public final class WithoutPlugin {
  private WithoutPlugin() {}

  public static void main(String[] args) throws Exception {
    Run run = Instance.here().run();
    String driver = ExecutorMain.driverUrl(run);
    ExecutorMain.awaitDriver(run, driver);
    String[] arguments = ExecutorMain.arguments(run, driver).toArray(String[]::new);
    CoarseGrainedExecutorBackend.run(
        CoarseGrainedExecutorBackend.parseArguments(arguments, "WithoutPlugin"),
        (rpc, parsed, env, profile) -> {
          env.conf().remove("spark.plugins");
          return new CoarseGrainedExecutorBackend(
              rpc, parsed.driverUrl(), parsed.executorId(), parsed.bindAddress(),
              parsed.hostname(), parsed.cores(), env, parsed.resourcesFileOpt(), profile);
        });
  }
}
