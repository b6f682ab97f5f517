package io.cloister.spark.fs;

import io.cloister.spark.broker.Part;
import java.io.Serializable;

/** A part that has been written to its end, and is in no manifest yet. */
public record WrittenPart(Part part, long plaintextLength) implements Serializable {}
