package io.cloister.spark.cluster;

import io.cloister.spark.broker.Run;
import java.io.IOException;
import java.net.Socket;
import java.net.SocketTimeoutException;
import java.util.List;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.spark.SecurityManager;
import org.apache.spark.SparkConf;
import org.apache.spark.executor.CoarseGrainedExecutorBackend;
import org.apache.spark.internal.config.package$;
import org.apache.spark.rpc.RpcEnv;
import org.apache.spark.scheduler.cluster.CoarseGrainedSchedulerBackend;
import scala.Option;

/**
 * What an executor's instance runs ({@code entry.executor} of the image): Spark's own executor,
 * against the driver of its run.
 */
public final class ExecutorMain {
  private static final long PAUSE_MS = 200;
  private static final int QUIET_MS = 1000;

  private ExecutorMain() {}

  public static void main(String[] args) throws Exception {
    if (args.length > 0) throw new IllegalArgumentException("wanted no arguments");
    Run run = Instance.here().run();
    if (run.role() != Run.Role.EXECUTOR) {
      throw new IllegalStateException("Cloister: wanted an executor's instance, seen " + run.role());
    }
    String driver = driverUrl(run);
    awaitDriver(run, driver);
    System.exit(serve(arguments(run, driver)));
  }

  /**
   * Runs Spark's executor until it is let go or gives up. Spark's own main ends with 0 either way, as
   * where the connection to its driver broke: nobody would know that it has to be replaced.
   */
  private static int serve(List<String> arguments) {
    AtomicInteger code = new AtomicInteger();
    CoarseGrainedExecutorBackend.run(
        CoarseGrainedExecutorBackend.parseArguments(
            arguments.toArray(String[]::new), ExecutorMain.class.getName()),
        (rpc, parsed, env, profile) ->
            new CoarseGrainedExecutorBackend(
                rpc, parsed.driverUrl(), parsed.executorId(), parsed.bindAddress(),
                parsed.hostname(), parsed.cores(), env, parsed.resourcesFileOpt(), profile) {
              @Override
              public void exitExecutor(
                  int exitCode, String reason, Throwable cause, boolean notifyDriver) {
                if (!stopping().get()) code.compareAndSet(0, exitCode);
                super.exitExecutor(exitCode, reason, cause, notifyDriver);
              }
            });
    return code.get();
  }

  static String driverUrl(Run run) {
    return "spark://" + CoarseGrainedSchedulerBackend.ENDPOINT_NAME() + "@" + run.driver() + ":"
        + run.ports().get(0);
  }

  static List<String> arguments(Run run, String driver) {
    return List.of(
        "--driver-url", driver,
        "--executor-id", run.executorId(),
        "--hostname", run.address(),
        "--bind-address", run.address(),
        "--cores", Integer.toString(Runtime.getRuntime().availableProcessors()),
        "--app-id", InstancesBackend.applicationId(run.runId()),
        "--resourceProfileId", "0");
  }

  /** A program may do other things before it begins with Spark: its driver is waited for. */
  static void awaitDriver(Run run, String driver) throws InterruptedException {
    SparkConf conf = new SparkConf(false).set("spark.rpc.askTimeout", "10s");
    conf.set("spark.rpc.io.maxRetries", "0");
    while (!listens(run)) Thread.sleep(PAUSE_MS);
    SecurityManager security = new SecurityManager(conf, Option.empty(), package$.MODULE$.AUTH_SECRET_FILE());
    RpcEnv rpc =
        RpcEnv.create("awaitDriver", run.address(), run.address(), -1, conf, security, 0, true);
    try {
      while (!answers(rpc, driver)) Thread.sleep(PAUSE_MS);
    } finally {
      rpc.shutdown();
      rpc.awaitTermination();
    }
  }

  /** Init takes each connection, and ends those that lead to no port where the driver listens. */
  private static boolean listens(Run run) throws InterruptedException {
    try (Socket socket = new Socket(run.driver(), run.ports().get(0))) {
      socket.setSoTimeout(QUIET_MS);
      return socket.getInputStream().read() >= 0;
    } catch (SocketTimeoutException open) {
      return true;
    } catch (IOException notYet) {
      return false;
    }
  }

  private static boolean answers(RpcEnv rpc, String driver) throws InterruptedException {
    try {
      rpc.setupEndpointRefByURI(driver);
      return true;
    } catch (Exception notYet) {
      // Scala's methods declare nothing of what they throw.
      if (notYet instanceof InterruptedException interrupt) throw interrupt;
      return false;
    }
  }
}
