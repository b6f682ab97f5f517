package io.cloister.spark.cluster;

import io.cloister.spark.broker.Run;
import org.apache.spark.rpc.RpcEnv;
import org.apache.spark.scheduler.ExecutorLossReason;
import org.apache.spark.scheduler.TaskSchedulerImpl;
import org.apache.spark.scheduler.cluster.CoarseGrainedClusterMessages.LaunchedExecutor;
import org.apache.spark.scheduler.cluster.CoarseGrainedSchedulerBackend;
import scala.PartialFunction;
import scala.runtime.AbstractPartialFunction;
import scala.runtime.BoxedUnit;

/** Gives tasks to the executors that arrive, once their plugin has reported. */
final class InstancesBackend extends CoarseGrainedSchedulerBackend {
  private final Run run;

  InstancesBackend(TaskSchedulerImpl scheduler, RpcEnv rpcEnv, Run run) {
    super(scheduler, rpcEnv);
    this.run = run;
  }

  @Override
  public String applicationId() {
    return applicationId(run.runId());
  }

  /** The same for executors, which learn of the run from their own init. */
  static String applicationId(String runId) {
    return "cloister-" + runId;
  }

  @Override
  public boolean sufficientResourcesRegistered() {
    return totalRegisteredExecutors().get() >= run.executors();
  }

  @Override
  public CoarseGrainedSchedulerBackend.DriverEndpoint createDriverEndpoint() {
    return new CheckingEndpoint();
  }

  /** An executor has no core for tasks before it says that it is launched. */
  private final class CheckingEndpoint extends CoarseGrainedSchedulerBackend.DriverEndpoint {
    @Override
    public PartialFunction<Object, BoxedUnit> receive() {
      PartialFunction<Object, BoxedUnit> next = super.receive();
      return new AbstractPartialFunction<>() {
        @Override
        public boolean isDefinedAt(Object message) {
          return next.isDefinedAt(message);
        }

        @Override
        public BoxedUnit apply(Object message) {
          if (message instanceof LaunchedExecutor launched && !Arrivals.has(launched.executorId())) {
            refuse(launched.executorId());
            return BoxedUnit.UNIT;
          }
          return next.apply(message);
        }
      };
    }
  }

  private void refuse(String executorId) {
    String why = "it has not loaded " + CloisterPlugin.class.getName();
    Arrivals.refuse(executorId, why);
    removeExecutor(executorId, new ExecutorLossReason("refused: " + why));
  }
}
