package io.cloister.spark.commit;

import io.cloister.spark.fs.Location;
import java.io.IOException;
import java.io.Serializable;
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

  /** Called by Spark on the driver; tasks get copies. */
  public SealedCommitProtocol(String jobId, String path, boolean dynamicPartitionOverwrite)
      throws IOException {
    Path target = qualified(new Path(path));
    protocol =
        Location.ofSealed(target).isPresent()
            ? new PartListProtocol(jobId, target.toString(), dynamicPartitionOverwrite)
            : new SQLHadoopMapReduceCommitProtocol(jobId, path, dynamicPartitionOverwrite);
  }

  private static Path qualified(Path path) throws IOException {
    if (path.toUri().getScheme() != null) return path;
    return path.getFileSystem(SparkContext.getOrCreate().hadoopConfiguration()).makeQualified(path);
  }

  @Override
  public void setupJob(JobContext job) {
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
    return protocol.deleteWithJob(fs, path, recursive);
  }

  @Override
  public void onTaskCommit(TaskCommitMessage message) {
    protocol.onTaskCommit(message);
  }
}
