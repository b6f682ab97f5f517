package io.cloister.spark.cluster;

import com.codahale.metrics.Gauge;
import io.cloister.spark.broker.Run;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.Map;
import org.apache.spark.SparkContext;
import org.apache.spark.api.plugin.DriverPlugin;
import org.apache.spark.api.plugin.ExecutorPlugin;
import org.apache.spark.api.plugin.PluginContext;
import org.apache.spark.api.plugin.SparkPlugin;

/**
 * The second line behind init, which attests before a JVM starts: Spark runs in an instance and as it
 * has to be set, or not at all; executors report to their driver before they get tasks.
 */
public final class CloisterPlugin implements SparkPlugin {
  @Override
  public DriverPlugin driverPlugin() {
    return new OnDriver();
  }

  @Override
  public ExecutorPlugin executorPlugin() {
    return new OnExecutor();
  }

  private static Instance here() {
    try {
      return Instance.here();
    } catch (IOException cause) {
      throw new UncheckedIOException("Cloister: wanted an instance's init, seen none", cause);
    }
  }

  private static final class OnDriver implements DriverPlugin {
    private Run run;

    @Override
    public Map<String, String> init(SparkContext context, PluginContext plugin) {
      Instance instance = here();
      run = instance.run();
      if (run.role() == Run.Role.EXECUTOR) {
        throw new IllegalStateException("Cloister: an executor's instance runs no driver");
      }
      Settings.requireForDriver(context.conf(), instance);
      Arrivals.clear();
      return Map.of();
    }

    @Override
    public void registerMetrics(String applicationId, PluginContext plugin) {
      Gauge<Integer> arrived = Arrivals::count;
      plugin.metricRegistry().register("executorsArrived", arrived);
    }

    @Override
    public Object receive(Object message) {
      if (!(message instanceof Arrival arrival)) {
        throw new IllegalArgumentException("Cloister: wanted an executor's arrival");
      }
      if (!arrival.runId().equals(run.runId())) {
        throw new IllegalStateException(
            "Cloister: executor " + arrival.executorId() + " is of another run");
      }
      Arrivals.add(arrival.executorId());
      return true;
    }
  }

  private static final class OnExecutor implements ExecutorPlugin {
    @Override
    public void init(PluginContext plugin, Map<String, String> fromDriver) {
      Instance instance = here();
      Run run = instance.run();
      // A JVM that is driver and executor in one has been looked at as the driver.
      if (run.role() == Run.Role.ALONE) return;
      if (!run.executorId().equals(plugin.executorID())) {
        throw new IllegalStateException(
            "Cloister: wanted executor " + run.executorId() + ", seen " + plugin.executorID());
      }
      Settings.requireForExecutor(plugin.conf(), instance);
      try {
        plugin.ask(new Arrival(plugin.executorID(), run.runId()));
      } catch (Exception cause) {
        throw new IllegalStateException("Cloister: the driver refuses this executor", cause);
      }
    }
  }
}
