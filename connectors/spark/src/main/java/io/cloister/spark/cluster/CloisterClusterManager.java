package io.cloister.spark.cluster;

import io.cloister.spark.broker.Run;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.concurrent.atomic.AtomicBoolean;
import org.apache.spark.SparkContext;
import org.apache.spark.scheduler.ExternalClusterManager;
import org.apache.spark.scheduler.SchedulerBackend;
import org.apache.spark.scheduler.TaskScheduler;
import org.apache.spark.scheduler.TaskSchedulerImpl;
import org.apache.spark.scheduler.local.LocalSchedulerBackend;

/**
 * {@code spark.master=spark-cloister}: executors are the other instances of the job, which start by
 * themselves; where there are none, this JVM's threads.
 */
public final class CloisterClusterManager implements ExternalClusterManager {
  // spark-submit takes none that does not begin with a name it knows.
  static final String MASTER = "spark-cloister";
  private static final AtomicBoolean USED = new AtomicBoolean();

  @Override
  public boolean canCreate(String master) {
    return master.equals(MASTER);
  }

  @Override
  public TaskScheduler createTaskScheduler(SparkContext context, String master) {
    return new TaskSchedulerImpl(context);
  }

  @Override
  public SchedulerBackend createSchedulerBackend(
      SparkContext context, String master, TaskScheduler scheduler) {
    Instance instance = here();
    Run run = instance.run();
    Settings.requireForDriver(context.conf(), instance);
    TaskSchedulerImpl tasks = (TaskSchedulerImpl) scheduler;
    if (run.role() == Run.Role.ALONE) {
      int cores = Runtime.getRuntime().availableProcessors();
      return new LocalSchedulerBackend(context.conf(), tasks, cores);
    }
    if (USED.getAndSet(true)) {
      throw new IllegalStateException(
          "Cloister: a job of several instances has one SparkContext: executors end with it");
    }
    return new InstancesBackend(tasks, context.env().rpcEnv(), run);
  }

  @Override
  public void initialize(TaskScheduler scheduler, SchedulerBackend backend) {
    ((TaskSchedulerImpl) scheduler).initialize(backend);
  }

  private static Instance here() {
    try {
      return Instance.here();
    } catch (IOException cause) {
      throw new UncheckedIOException("spark.master=" + MASTER + ": wanted an instance's init", cause);
    }
  }
}
