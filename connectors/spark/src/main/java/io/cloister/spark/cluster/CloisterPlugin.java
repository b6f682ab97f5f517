package io.cloister.spark.cluster;

import com.codahale.metrics.Gauge;
import com.codahale.metrics.MetricRegistry;
import io.cloister.spark.broker.Evidence;
import io.cloister.spark.broker.KeyBroker;
import io.cloister.spark.broker.Run;
import io.cloister.spark.fs.SealedJob;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.Map;
import org.apache.spark.SparkConf;
import org.apache.spark.SparkContext;
import org.apache.spark.api.plugin.DriverPlugin;
import org.apache.spark.api.plugin.ExecutorPlugin;
import org.apache.spark.api.plugin.PluginContext;
import org.apache.spark.api.plugin.SparkPlugin;
import org.apache.spark.scheduler.SparkListener;
import org.apache.spark.scheduler.SparkListenerExecutorRemoved;

/**
 * The second line behind init, which attests before a JVM starts: Spark runs in an instance and as it
 * has to be set, or not at all; executors report to their driver before they get tasks. What was
 * attested is among Spark's properties, and what became of executors and keys among its metrics.
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

  private static KeyBroker broker() {
    try {
      return SealedJob.broker();
    } catch (IOException cause) {
      throw new UncheckedIOException("Cloister: wanted an instance's init, seen none", cause);
    }
  }

  private static void registerKeys(MetricRegistry metrics) {
    KeyBroker broker = broker();
    Gauge<Long> given = broker::keysGiven;
    Gauge<Long> refused = broker::keysRefused;
    metrics.register("keysGiven", given);
    metrics.register("keysRefused", refused);
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
      context.addSparkListener(new Removals());
      tellEvidence(context.conf());
      return Map.of();
    }

    /** Spark shows its properties in the environment tab and in event logs: nothing here is secret. */
    private void tellEvidence(SparkConf conf) {
      try {
        Evidence evidence = broker().evidence();
        conf.set("spark.cloister.tee", evidence.tee());
        conf.set("spark.cloister.measurement", evidence.measurement());
        conf.set("spark.cloister.jobDigest", evidence.jobDigest());
        conf.set("spark.cloister.kmsId", evidence.kmsId());
      } catch (IOException cause) {
        throw new UncheckedIOException("Cloister: what was attested is not told", cause);
      }
      if (run.role() == Run.Role.DRIVER) conf.set("spark.cloister.runId", run.runId());
    }

    @Override
    public void registerMetrics(String applicationId, PluginContext plugin) {
      MetricRegistry metrics = plugin.metricRegistry();
      Gauge<Integer> arrived = Arrivals::arrived;
      Gauge<Integer> refused = Arrivals::refused;
      Gauge<Integer> lost = Arrivals::lost;
      metrics.register("executorsArrived", arrived);
      metrics.register("executorsRefused", refused);
      metrics.register("executorsLost", lost);
      registerKeys(metrics);
    }

    @Override
    public Object receive(Object message) {
      if (message instanceof Refusal refusal) {
        Arrivals.refuse(refusal.executorId(), refusal.reason());
        return true;
      }
      if (!(message instanceof Arrival arrival)) {
        throw new IllegalArgumentException("Cloister: wanted an executor's arrival");
      }
      if (!arrival.runId().equals(run.runId())) {
        Arrivals.refuse(arrival.executorId(), "it is of another run");
        throw new IllegalStateException(
            "Cloister: executor " + arrival.executorId() + " is of another run");
      }
      Arrivals.add(arrival.executorId());
      return true;
    }
  }

  private static final class Removals extends SparkListener {
    @Override
    public void onExecutorRemoved(SparkListenerExecutorRemoved removed) {
      Arrivals.remove(removed.executorId());
    }
  }

  private static final class OnExecutor implements ExecutorPlugin {
    @Override
    public void init(PluginContext plugin, Map<String, String> fromDriver) {
      Instance instance = here();
      Run run = instance.run();
      // A JVM that is driver and executor in one has been looked at as the driver.
      if (run.role() == Run.Role.ALONE) return;
      try {
        requireGood(plugin, instance);
      } catch (IllegalStateException refusal) {
        tell(plugin, refusal);
        throw refusal;
      }
      try {
        plugin.ask(new Arrival(plugin.executorID(), run.runId()));
      } catch (Exception cause) {
        throw new IllegalStateException("Cloister: the driver refuses this executor", cause);
      }
      registerKeys(plugin.metricRegistry());
    }

    private static void requireGood(PluginContext plugin, Instance instance) {
      Run run = instance.run();
      if (!run.executorId().equals(plugin.executorID())) {
        throw new IllegalStateException(
            "Cloister: wanted executor " + run.executorId() + ", seen " + plugin.executorID());
      }
      Settings.requireForExecutor(plugin.conf(), instance);
    }

    /** The driver's log is where people look first; this instance ends in any case. */
    private static void tell(PluginContext plugin, IllegalStateException refusal) {
      try {
        plugin.ask(new Refusal(plugin.executorID(), refusal.getMessage()));
      } catch (Exception unheard) {
        refusal.addSuppressed(unheard);
      }
    }
  }
}
