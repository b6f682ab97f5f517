package io.cloister.spark.commit;

import io.cloister.spark.fs.Location;
import io.cloister.spark.fs.SealedJob;
import io.cloister.spark.sealed.SealedException;
import java.io.IOException;
import java.io.Serializable;
import java.io.UncheckedIOException;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.Path;
import org.apache.hadoop.mapreduce.JobContext;
import org.apache.hadoop.mapreduce.TaskAttemptContext;
import org.apache.spark.SparkContext;
import org.apache.spark.internal.io.FileCommitProtocol;
import org.apache.spark.internal.io.FileNameSpec;
import org.apache.spark.sql.execution.datasources.SQLHadoopMapReduceCommitProtocol;
import scala.Option;
import scala.collection.immutable.Seq;

/**
 * How Spark commits what it writes: a sealed output by its list of parts, anything else by Spark's
 * own protocol. Set as {@code spark.sql.sources.commitProtocolClass}.
 */
public final class SealedCommitProtocol extends FileCommitProtocol implements Serializable {
  private final FileCommitProtocol protocol;
  // On the driver, and only where nothing may be written.
  private final transient SealedException refusal;

  /** Called by Spark on the driver; tasks get copies. */
  public SealedCommitProtocol(String jobId, String path, boolean dynamicPartitionOverwrite)
      throws IOException {
    Path target = qualified(new Path(path));
    boolean isSealed = Location.ofSealed(target).isPresent();
    refusal = isSealed ? null : refusalOf(target);
    protocol =
        isSealed
            ? new PartListProtocol(jobId, target.toString(), dynamicPartitionOverwrite)
            : new SQLHadoopMapReduceCommitProtocol(jobId, path, dynamicPartitionOverwrite);
  }

  /** Told where Spark begins: what a constructor throws it shows as another exception. */
  private static SealedException refusalOf(Path target) throws IOException {
    try {
      SealedJob.assertNoDatasetAt(target);
      return null;
    } catch (SealedException refusal) {
      return refusal;
    }
  }

  private void assertAllowed() {
    if (refusal != null) throw new UncheckedIOException(refusal);
  }

  private static Path qualified(Path path) throws IOException {
    if (path.toUri().getScheme() != null) return path;
    return path.getFileSystem(SparkContext.getOrCreate().hadoopConfiguration()).makeQualified(path);
  }

  @Override
  public void setupJob(JobContext job) {
    assertAllowed();
    protocol.setupJob(job);
  }

  @Override
  public void commitJob(JobContext job, Seq<TaskCommitMessage> messages) {
    protocol.commitJob(job, messages);
  }

  @Override
  public void abortJob(JobContext job) {
    protocol.abortJob(job);
  }

  @Override
  public void setupTask(TaskAttemptContext task) {
    protocol.setupTask(task);
  }

  @Deprecated
  @Override
  public String newTaskTempFile(TaskAttemptContext task, Option<String> folder, String end) {
    return protocol.newTaskTempFile(task, folder, end);
  }

  @Override
  public String newTaskTempFile(TaskAttemptContext task, Option<String> folder, FileNameSpec name) {
    return protocol.newTaskTempFile(task, folder, name);
  }

  @Deprecated
  @Override
  public String newTaskTempFileAbsPath(TaskAttemptContext task, String folder, String end) {
    return protocol.newTaskTempFileAbsPath(task, folder, end);
  }

  @Override
  public String newTaskTempFileAbsPath(TaskAttemptContext task, String folder, FileNameSpec name) {
    return protocol.newTaskTempFileAbsPath(task, folder, name);
  }

  @Override
  public TaskCommitMessage commitTask(TaskAttemptContext task) {
    return protocol.commitTask(task);
  }

  @Override
  public void abortTask(TaskAttemptContext task) {
    protocol.abortTask(task);
  }

  @Override
  public boolean deleteWithJob(FileSystem fs, Path path, boolean recursive) {
    assertAllowed();
    return protocol.deleteWithJob(fs, path, recursive);
  }

  @Override
  public void onTaskCommit(TaskCommitMessage message) {
    protocol.onTaskCommit(message);
  }
}
