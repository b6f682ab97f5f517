package io.cloister.spark.commit;

import io.cloister.spark.fs.Location;
import io.cloister.spark.fs.OutputDataset;
import io.cloister.spark.fs.SealedFileSystem;
import io.cloister.spark.fs.SealedJob;
import io.cloister.spark.fs.WrittenPart;
import java.io.IOException;
import java.io.Serializable;
import java.io.UncheckedIOException;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.function.Predicate;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.Path;
import org.apache.hadoop.mapreduce.JobContext;
import org.apache.hadoop.mapreduce.TaskAttemptContext;
import org.apache.spark.TaskContext;
import org.apache.spark.internal.io.FileCommitProtocol;
import org.apache.spark.internal.io.FileNameSpec;
import org.apache.spark.util.TaskCompletionListener;
import scala.Option;
import scala.collection.immutable.Seq;
import scala.jdk.javaapi.CollectionConverters;

/**
 * Tasks write sealed files where they stay, and tell the driver which; the driver commits the list.
 * A file of an attempt that failed or lost is in no list. Nothing is ever renamed.
 */
final class PartListProtocol extends FileCommitProtocol implements Serializable {
  private final String jobId;
  private final String path;
  private final boolean dynamicPartitionOverwrite;

  // On the driver.
  private transient List<String> replaced = new ArrayList<>();
  private transient List<TaskCommitMessage> tasks = new ArrayList<>();
  // On an executor.
  private transient List<String> files;

  PartListProtocol(String jobId, String path, boolean dynamicPartitionOverwrite) {
    this.jobId = jobId;
    this.path = path;
    this.dynamicPartitionOverwrite = dynamicPartitionOverwrite;
  }

  private Location place() {
    return Location.ofSealed(new Path(path)).orElseThrow();
  }

  private OutputDataset output() throws IOException {
    return SealedJob.current()
        .output(place())
        .orElseThrow(() -> SealedJob.refuse("write", place(), "a path in an output of the job"));
  }

  @Override
  public void setupJob(JobContext job) {
    io(this::output);
  }

  /** Whatever a task has not committed by its end is removed, also where nobody aborts it. */
  @Override
  public void setupTask(TaskAttemptContext task) {
    files = new ArrayList<>();
    TaskCompletionListener discard = ended -> abortTask(task);
    TaskContext.get().addTaskCompletionListener(discard);
  }

  @Deprecated
  @Override
  public String newTaskTempFile(TaskAttemptContext task, Option<String> folder, String end) {
    return newTaskTempFile(task, folder, new FileNameSpec("", end));
  }

  // The attempt is in the name: two attempts of one task never have the same path.
  @Override
  public String newTaskTempFile(TaskAttemptContext task, Option<String> folder, FileNameSpec name) {
    var attempt = task.getTaskAttemptID();
    String file =
        String.format(
            "%spart-%05d-%s-%d%s",
            name.prefix(), attempt.getTaskID().getId(), jobId, attempt.getId(), name.suffix());
    return io(
        () -> {
          OutputDataset output = output();
          String base = output.relative(place());
          String relative = join(base, join(folder.isDefined() ? folder.get() : "", file));
          output.expect(relative);
          files.add(relative);
          return output.folder().sealed(relative).toString();
        });
  }

  private static String join(String folder, String file) {
    return folder.isEmpty() ? file : folder + "/" + file;
  }

  @Deprecated
  @Override
  public String newTaskTempFileAbsPath(TaskAttemptContext task, String folder, String end) {
    return newTaskTempFileAbsPath(task, folder, new FileNameSpec("", end));
  }

  @Override
  public String newTaskTempFileAbsPath(TaskAttemptContext task, String folder, FileNameSpec name) {
    throw new UnsupportedOperationException(
        "wanted partitions below " + path + ", seen one with a location of its own, " + folder);
  }

  @Override
  public TaskCommitMessage commitTask(TaskAttemptContext task) {
    return io(() -> new TaskCommitMessage(CommitMessages.encode(output().take(files))));
  }

  /** What was committed is not touched. */
  @Override
  public void abortTask(TaskAttemptContext task) {
    io(
        () -> {
          output().abort(files);
          return null;
        });
  }

  /** Nothing is deleted before the job commits, and then parts leave the list. */
  @Override
  public boolean deleteWithJob(FileSystem fs, Path folder, boolean recursive) {
    return io(
        () -> {
          Location place = Location.ofSealed(folder).orElseThrow();
          return replaced.add(output().relative(place));
        });
  }

  @Override
  public void onTaskCommit(TaskCommitMessage message) {
    tasks.add(message);
  }

  @Override
  public void commitJob(JobContext job, Seq<TaskCommitMessage> messages) {
    io(
        () -> {
          List<WrittenPart> parts = partsOf(CollectionConverters.asJava(messages));
          output().commit(parts, isReplacedBy(parts));
          return null;
        });
  }

  private Predicate<String> isReplacedBy(List<WrittenPart> parts) {
    Set<String> partitions = new HashSet<>();
    if (dynamicPartitionOverwrite) {
      for (WrittenPart written : parts) partitions.add(folderOf(written.part().path()));
    }
    List<String> folders = List.copyOf(replaced);
    return file ->
        partitions.contains(folderOf(file))
            || folders.stream().anyMatch(it -> it.isEmpty() || file.startsWith(it + "/"));
  }

  private static String folderOf(String file) {
    return file.substring(0, Math.max(0, file.lastIndexOf('/')));
  }

  @Override
  public void abortJob(JobContext job) {
    io(
        () -> {
          FileSystem fs = new Path(path).getFileSystem(job.getConfiguration());
          output().discard(partsOf(tasks), ((SealedFileSystem) fs).storage());
          return null;
        });
  }

  private static List<WrittenPart> partsOf(List<TaskCommitMessage> messages) throws IOException {
    List<WrittenPart> parts = new ArrayList<>();
    for (TaskCommitMessage message : messages) {
      parts.addAll(CommitMessages.decode((byte[]) message.obj()));
    }
    return parts;
  }

  private interface Io<T> {
    T run() throws IOException;
  }

  /** Spark's methods declare no exception, and take any. */
  private static <T> T io(Io<T> act) {
    try {
      return act.run();
    } catch (IOException cause) {
      throw new UncheckedIOException(cause);
    }
  }
}
