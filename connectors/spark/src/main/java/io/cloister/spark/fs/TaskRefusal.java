package io.cloister.spark.fs;

import java.io.UncheckedIOException;
import org.apache.hadoop.security.AccessControlException;
import org.apache.spark.TaskContext;
import org.apache.spark.util.TaskCompletionListener;

/**
 * Fails the running task for good. Spark looks at the outermost exception alone when it decides
 * whether to skip a file, and some readers, ORC's for one, wrap what they are thrown: so a task in
 * which something was refused fails when it ends, whatever became of the exception.
 */
public final class TaskRefusal {
  private TaskRefusal() {}

  public static AccessControlException of(AccessControlException refusal) {
    TaskContext task = TaskContext.get();
    TaskCompletionListener fail =
        ended -> {
          throw new UncheckedIOException(refusal);
        };
    if (task != null) task.addTaskCompletionListener(fail);
    return refusal;
  }
}
