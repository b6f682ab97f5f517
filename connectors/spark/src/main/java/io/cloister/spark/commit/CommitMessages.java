package io.cloister.spark.commit;

import io.cloister.spark.fs.WrittenPart;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.ObjectInputFilter;
import java.io.ObjectInputStream;
import java.io.ObjectOutputStream;
import java.util.List;

/** What a task tells the driver, as bytes: Kryo, which Spark may be set to, takes no records. */
final class CommitMessages {
  private static final ObjectInputFilter PARTS_ONLY =
      ObjectInputFilter.Config.createFilter(
          "io.cloister.spark.fs.WrittenPart;io.cloister.spark.broker.Part;java.lang.*;!*");

  private CommitMessages() {}

  static byte[] encode(List<WrittenPart> parts) throws IOException {
    ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    try (ObjectOutputStream out = new ObjectOutputStream(bytes)) {
      out.writeObject(parts.toArray(WrittenPart[]::new));
    }
    return bytes.toByteArray();
  }

  static List<WrittenPart> decode(byte[] message) throws IOException {
    try (ObjectInputStream in = new ObjectInputStream(new ByteArrayInputStream(message))) {
      in.setObjectInputFilter(PARTS_ONLY);
      return List.of((WrittenPart[]) in.readObject());
    } catch (ClassNotFoundException cause) {
      throw new IOException("a task's commit message is of another version", cause);
    }
  }
}
