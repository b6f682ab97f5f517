package io.cloister.spark.oneprocess;

import java.io.FileNotFoundException;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.attribute.FileTime;
import java.nio.file.attribute.PosixFileAttributes;
import java.nio.file.attribute.PosixFilePermission;
import java.util.EnumSet;
import java.util.Set;
import org.apache.hadoop.fs.FileStatus;
import org.apache.hadoop.fs.FileUtil;
import org.apache.hadoop.fs.LocalFileSystem;
import org.apache.hadoop.fs.Path;
import org.apache.hadoop.fs.RawLocalFileSystem;
import org.apache.hadoop.fs.permission.FsPermission;

/**
 * Local files without a process: Hadoop's own sets and reads rights by {@code chmod}, {@code ls} and
 * {@code stat}, and cannot write a file where no other process can be. Java does it here. There are
 * no files of checksums beside: what is in memory is checked by nobody else, and what is sealed has
 * better ones.
 */
public final class LocalFiles extends LocalFileSystem {
  public LocalFiles() {
    super(new WithoutProcesses());
    setWriteChecksum(false);
    setVerifyChecksum(false);
  }

  private static final class WithoutProcesses extends RawLocalFileSystem {
    @Override
    public void setPermission(Path path, FsPermission permission) throws IOException {
      Files.setPosixFilePermissions(pathToFile(path).toPath(), rightsOf(permission));
    }

    @Override
    public FileStatus getFileStatus(Path path) throws IOException {
      java.nio.file.Path file = pathToFile(path).toPath();
      try {
        PosixFileAttributes seen = Files.readAttributes(file, PosixFileAttributes.class);
        return new FileStatus(
            seen.isDirectory() ? 0 : seen.size(),
            seen.isDirectory(),
            1,
            getDefaultBlockSize(path),
            millis(seen.lastModifiedTime()),
            millis(seen.lastAccessTime()),
            permissionOf(seen.permissions()),
            seen.owner().getName(),
            seen.group().getName(),
            makeQualified(path));
      } catch (NoSuchFileException missing) {
        throw new FileNotFoundException("File " + path + " does not exist");
      }
    }

    @Override
    public FileStatus[] listStatus(Path path) throws IOException {
      FileStatus status = getFileStatus(path);
      if (!status.isDirectory()) return new FileStatus[] {status};
      String[] names = FileUtil.list(pathToFile(path));
      FileStatus[] listed = new FileStatus[names.length];
      int there = 0;
      for (String name : names) {
        try {
          listed[there] = getFileStatus(new Path(path, new Path(null, null, name)));
          there++;
        } catch (FileNotFoundException gone) {
          // Removed since its name was read.
        }
      }
      return java.util.Arrays.copyOf(listed, there);
    }

    private static long millis(FileTime time) {
      return time.toMillis();
    }
  }

  /** In the order of the bits, the owner's read first. */
  private static final PosixFilePermission[] BITS = PosixFilePermission.values();

  private static Set<PosixFilePermission> rightsOf(FsPermission permission) {
    Set<PosixFilePermission> rights = EnumSet.noneOf(PosixFilePermission.class);
    for (int bit = 0; bit < BITS.length; bit++) {
      if ((permission.toShort() & (0400 >> bit)) != 0) rights.add(BITS[bit]);
    }
    return rights;
  }

  private static FsPermission permissionOf(Set<PosixFilePermission> rights) {
    int bits = 0;
    for (PosixFilePermission right : rights) bits |= 0400 >> right.ordinal();
    return new FsPermission((short) bits);
  }
}
