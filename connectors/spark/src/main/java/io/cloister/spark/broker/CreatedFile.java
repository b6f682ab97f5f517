package io.cloister.spark.broker;

import io.cloister.spark.sealed.Dek;
import io.cloister.spark.sealed.Slot;
import java.util.List;

/** The key of a file to be written, and its wraps for the file's header. */
public record CreatedFile(Dek dek, List<Slot> slots) {}
