package io.cloister.spark.sealed;

/** One wrapping of a file's DEK under a customer master key. */
public record Slot(String kmsId, String cmkId, long cmkVersion, byte[] wrappedDek) {}
