package io.cloister.spark.sealed;

import static io.cloister.spark.sealed.SealedException.Code.COMPRESSED;
import static io.cloister.spark.sealed.SealedException.Code.HEADER;
import static io.cloister.spark.sealed.SealedException.Code.LIMIT;

import java.nio.charset.StandardCharsets;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** What a sealed file is; never changes after the file is written. */
public record FixedPart(
    String datasetId, String fileId, String mediaType, long part, int segmentSize) {
  public static final int DEFAULT_SEGMENT_SIZE = 65_536;
  static final int MIN_SEGMENT_SIZE = 256;
  static final int MAX_SEGMENT_SIZE = 1 << 24;
  static final long MAX_PART = (1L << 32) - 1;

  private static final Pattern ID = Pattern.compile("[0-9a-f]{32}");
  private static final Pattern MEDIA_TYPE = Pattern.compile("[ -~]{1,255}");

  // RFC 8785 leaves one way to write this object, so one pattern is its whole grammar.
  private static final Pattern CANONICAL =
      Pattern.compile(
          "\\{\"compression\":\"([ !#-\\[\\]-~]{0,64})\""
              + ",\"datasetId\":\"([0-9a-f]{32})\""
              + ",\"fileId\":\"([0-9a-f]{32})\""
              + ",\"mediaType\":\"((?:[ !#-\\[\\]-~]|\\\\[\"\\\\]){1,255}+)\""
              + ",\"part\":(0|[1-9][0-9]{0,9})"
              + ",\"segmentSize\":(0|[1-9][0-9]{0,9})"
              + ",\"suite\":\"AES256_GCM_HKDF\"\\}");

  public FixedPart {
    require(ID.matcher(datasetId).matches(), "dataset id", "32 lower-case hex digits", datasetId);
    require(ID.matcher(fileId).matches(), "file id", "32 lower-case hex digits", fileId);
    require(
        MEDIA_TYPE.matcher(mediaType).matches(), "media type", "1 to 255 of U+0020 to U+007E",
        mediaType);
    require(part >= 0 && part <= MAX_PART, "part", "0 to " + MAX_PART, part);
    require(
        segmentSize >= MIN_SEGMENT_SIZE && segmentSize <= MAX_SEGMENT_SIZE,
        "segment size", MIN_SEGMENT_SIZE + " to " + MAX_SEGMENT_SIZE, segmentSize);
  }

  private static void require(boolean holds, String field, String wanted, Object seen) {
    if (!holds) throw new IllegalArgumentException(field + ": wanted " + wanted + ", seen " + seen);
  }

  byte[] encode() {
    String escaped = mediaType.replace("\\", "\\\\").replace("\"", "\\\"");
    return ("{\"compression\":\"none\",\"datasetId\":\"" + datasetId
            + "\",\"fileId\":\"" + fileId
            + "\",\"mediaType\":\"" + escaped
            + "\",\"part\":" + part
            + ",\"segmentSize\":" + segmentSize
            + ",\"suite\":\"AES256_GCM_HKDF\"}")
        .getBytes(StandardCharsets.US_ASCII);
  }

  static FixedPart parse(byte[] json) throws SealedException {
    Matcher fields = CANONICAL.matcher(new String(json, StandardCharsets.ISO_8859_1));
    if (!fields.matches()) {
      throw new SealedException(HEADER, "the fixed part is not canonical JSON of its fields");
    }
    if (!fields.group(1).equals("none")) {
      throw new SealedException(COMPRESSED, "compression: wanted none, seen " + fields.group(1));
    }
    long segmentSize = Long.parseLong(fields.group(6));
    if (segmentSize < MIN_SEGMENT_SIZE || segmentSize > MAX_SEGMENT_SIZE) {
      throw new SealedException(
          LIMIT,
          "segment size: wanted " + MIN_SEGMENT_SIZE + " to " + MAX_SEGMENT_SIZE
              + ", seen " + segmentSize);
    }
    try {
      return new FixedPart(
          fields.group(2),
          fields.group(3),
          fields.group(4).replaceAll("\\\\(.)", "$1"),
          Long.parseLong(fields.group(5)),
          (int) segmentSize);
    } catch (IllegalArgumentException cause) {
      throw new SealedException(HEADER, cause.getMessage(), cause);
    }
  }
}
