package io.cloister.spark.broker;

import io.cloister.spark.sealed.SealedException;
import java.io.Serializable;
import java.nio.charset.StandardCharsets;
import java.util.OptionalLong;
import java.util.regex.Pattern;

/**
 * What a manifest says of one sealed file.
 *
 * @param number the sealed header's part number
 * @param name of the sealed file in the dataset's folder
 * @param path where the file stands among the dataset's files
 * @param length of the whole sealed file in bytes
 * @param rows their number, or -1 where it is not known
 */
public record Part(
    long number, String name, String path, String fileId, String fixedDigest, long length,
    String lastTag, long rows)
    implements Serializable {
  private static final long MAX_NUMBER = (1L << 32) - 1;
  private static final long MAX_SAFE = (1L << 53) - 1;
  private static final long MIN_LENGTH = 4152;
  private static final Pattern DIGITS_32 = Pattern.compile("[0-9a-f]{32}");
  private static final Pattern DIGITS_64 = Pattern.compile("[0-9a-f]{64}");
  private static final Pattern NAME =
      Pattern.compile("(?!manifest[-.])[A-Za-z0-9_-][A-Za-z0-9._-]{0,254}");
  private static final int MAX_PATH = 1024;
  private static final int MAX_PATH_NAME = 255;

  public Part {
    require(number >= 0 && number <= MAX_NUMBER, "number", number);
    require(NAME.matcher(name).matches(), "name", name);
    require(isPath(path), "path", path);
    require(DIGITS_32.matcher(fileId).matches(), "fileId", fileId);
    require(DIGITS_64.matcher(fixedDigest).matches(), "fixedDigest", fixedDigest);
    require(length >= MIN_LENGTH && length <= MAX_SAFE, "length", length);
    require(DIGITS_32.matcher(lastTag).matches(), "lastTag", lastTag);
    require(rows >= -1 && rows <= MAX_SAFE, "rows", rows);
  }

  private static void require(boolean holds, String field, Object seen) {
    if (!holds) {
      throw new IllegalArgumentException(
          field + ": wanted what docs/formats/dataset.md says, seen " + seen);
    }
  }

  public OptionalLong knownRows() {
    return rows < 0 ? OptionalLong.empty() : OptionalLong.of(rows);
  }

  /** Checks where a file is to stand in a dataset. */
  public static void assertPath(String path) throws SealedException {
    if (!isPath(path)) {
      throw new SealedException(
          SealedException.Code.PATH,
          "wanted a relative path of at most " + MAX_PATH + " bytes and " + MAX_PATH_NAME
              + " in a name, without ., .., backslashes and control characters, seen " + path);
    }
  }

  private static boolean isPath(String path) {
    if (utf8Length(path) > MAX_PATH) return false;
    for (String name : path.split("/", -1)) {
      boolean named = !name.isEmpty() && !name.equals(".") && !name.equals("..");
      if (!named || utf8Length(name) > MAX_PATH_NAME) return false;
      if (!name.codePoints().allMatch(Part::isNameCharacter)) return false;
    }
    return true;
  }

  private static boolean isNameCharacter(int c) {
    boolean control = c <= 0x1f || (c >= 0x7f && c <= 0x9f);
    boolean surrogate = c >= Character.MIN_SURROGATE && c <= Character.MAX_SURROGATE;
    return c != '\\' && !control && !surrogate;
  }

  private static int utf8Length(String text) {
    return text.getBytes(StandardCharsets.UTF_8).length;
  }
}
