package io.cloister.spark.sealed;

import static io.cloister.spark.sealed.SealedException.Code.LIMIT;
import static io.cloister.spark.sealed.SealedException.Code.TRUNCATED;

/** Where a payload's segments lie, computed from its length alone. */
record PayloadLayout(long length, int segmentSize) {
  static final int HEADER_LENGTH = 40;
  static final int TAG_LENGTH = 16;

  // The format allows 2^32; Tink for Java counts segments in an int.
  private static final long MAX_SEGMENTS = Integer.MAX_VALUE;

  /** Lays out a payload of this length, where a payload can be that long. */
  static PayloadLayout of(long length, int segmentSize) throws SealedException {
    if (length < HEADER_LENGTH + TAG_LENGTH) throw impossible(length);
    PayloadLayout layout = new PayloadLayout(length, segmentSize);
    long segments = layout.segmentCount();
    if (segments > MAX_SEGMENTS) {
      throw new SealedException(
          LIMIT, "segments: wanted at most " + MAX_SEGMENTS + ", seen " + segments);
    }
    // Only an empty plaintext has an empty last segment, and that one is also the first.
    if (segments > 1 && length - (segments - 1) * segmentSize <= TAG_LENGTH) {
      throw impossible(length);
    }
    return layout;
  }

  private static SealedException impossible(long length) {
    return new SealedException(TRUNCATED, "a payload cannot be " + length + " bytes long");
  }

  long segmentCount() {
    return (length + segmentSize - 1) / segmentSize;
  }

  long plaintextLength() {
    return length - HEADER_LENGTH - TAG_LENGTH * segmentCount();
  }
}
