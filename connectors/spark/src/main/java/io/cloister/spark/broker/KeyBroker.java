package io.cloister.spark.broker;

import static io.cloister.spark.broker.BrokerException.Code.PROTOCOL;
import static io.cloister.spark.broker.BrokerException.Code.UNAVAILABLE;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.cloister.spark.sealed.Dek;
import java.io.IOException;
import java.io.InterruptedIOException;
import java.nio.ByteBuffer;
import java.nio.channels.ClosedByInterruptException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.atomic.LongAdder;

/**
 * Asks the key broker of this instance (docs/protocols/key-broker.md). Of any number of threads:
 * each request has a connection for itself, since a task that Spark interrupts loses its own.
 */
public final class KeyBroker {
  /** How a commit treats the parts that this program committed before. */
  public enum Mode {
    REPLACE,
    APPEND
  }

  private static final int PAGE = 1000;
  private static final JsonNodeFactory JSON = JsonNodeFactory.instance;

  private final Path socket;
  private final ConcurrentLinkedQueue<Connection> idle = new ConcurrentLinkedQueue<>();
  private final LongAdder keysGiven = new LongAdder();
  private final LongAdder keysRefused = new LongAdder();

  public KeyBroker(Path socket) {
    this.socket = socket;
  }

  public Job job() throws IOException {
    return Reply.job(ask(request("job")));
  }

  /** This instance's place among those of the job. */
  public Run run() throws IOException {
    return Reply.run(ask(request("run")));
  }

  /** What this instance was attested as. */
  public Evidence evidence() throws IOException {
    return Reply.evidence(ask(request("evidence")));
  }

  /** All parts of an input, in its manifest's order. */
  public List<Part> parts(Job.Input input) throws IOException {
    List<Part> parts = new ArrayList<>(input.parts());
    while (parts.size() < input.parts()) {
      ObjectNode request = request("parts").put("input", input.name());
      List<Part> page = Reply.parts(ask(request.put("from", parts.size()).put("size", PAGE)));
      if (page.isEmpty() || parts.size() + page.size() > input.parts()) {
        throw new BrokerException(
            PROTOCOL,
            "parts of " + input.name() + ": wanted " + input.parts() + ", seen "
                + (parts.size() + page.size()));
      }
      parts.addAll(page);
    }
    return parts;
  }

  /** The key of one of an input's files. */
  public Dek open(String input, String fileId) throws IOException {
    ObjectNode request = request("open").put("input", input);
    request.putArray("files").add(fileId);
    return Reply.dek(askForKey(request), fileId);
  }

  /** The key of a file that this run has committed to an output. */
  public Dek reopen(String output, String fileId) throws IOException {
    ObjectNode request = request("reopen").put("output", output);
    request.putArray("files").add(fileId);
    return Reply.dek(askForKey(request), fileId);
  }

  /** What this run has committed to an output, unless that is what it was after so many commits. */
  public Optional<Written> writtenSince(String output, long commits) throws IOException {
    Written first = written(output, 0, 1);
    if (first.commits() == commits) return Optional.empty();
    while (true) {
      List<Part> parts = new ArrayList<>();
      Written page = written(output, 0, PAGE);
      long since = page.commits();
      while (page.commits() == since && !page.parts().isEmpty()) {
        parts.addAll(page.parts());
        page = written(output, parts.size(), PAGE);
      }
      // Between two pages somebody may commit: then it is another list.
      if (page.commits() == since) return Optional.of(new Written(since, List.copyOf(parts)));
    }
  }

  private Written written(String output, int from, int size) throws IOException {
    ObjectNode request = request("written").put("output", output);
    return Reply.written(ask(request.put("from", from).put("size", size)));
  }

  /** A key for a file that is about to be written. */
  public CreatedFile create(String output, String fileId, String fixedDigest) throws IOException {
    ObjectNode request = request("create").put("output", output);
    request.putArray("files").addObject().put("fileId", fileId).put("fixedDigest", fixedDigest);
    return Reply.created(askForKey(request), fileId);
  }

  /** Says which parts an output has, all at once. */
  public void commit(String output, Mode mode, List<Part> parts) throws IOException {
    ObjectNode request = request("commit").put("output", output);
    request.put("mode", mode == Mode.REPLACE ? "replace" : "append");
    var array = request.putArray("parts");
    for (Part part : parts) {
      ObjectNode item = array.addObject();
      item.put("number", part.number()).put("name", part.name()).put("path", part.path());
      item.put("fileId", part.fileId()).put("fixedDigest", part.fixedDigest());
      item.put("length", part.length()).put("lastTag", part.lastTag());
      if (part.knownRows().isPresent()) item.put("rows", part.rows());
      else item.putNull("rows");
    }
    Reply.nothing(ask(request));
  }

  /** How many keys this JVM was given. */
  public long keysGiven() {
    return keysGiven.sum();
  }

  /** How often this JVM was refused a key, or nobody answered. */
  public long keysRefused() {
    return keysRefused.sum();
  }

  private JsonNode askForKey(ObjectNode request) throws IOException {
    try {
      JsonNode reply = ask(request);
      keysGiven.increment();
      return reply;
    } catch (BrokerException refusal) {
      keysRefused.increment();
      throw refusal;
    }
  }

  private static ObjectNode request(String ask) {
    return JSON.objectNode().put("ask", ask);
  }

  private JsonNode ask(ObjectNode request) throws IOException {
    ByteBuffer frame = Connection.frame(request);
    JsonNode reply;
    Connection connection = null;
    try {
      connection = idle.poll();
      if (connection == null) connection = Connection.open(socket);
      reply = connection.exchange(frame);
    } catch (IOException cause) {
      if (connection != null) connection.close();
      if (cause instanceof BrokerException || isInterrupt(cause)) throw cause;
      throw new BrokerException(UNAVAILABLE, "the key broker at " + socket, cause);
    }
    idle.add(connection);
    return Reply.ok(reply);
  }

  private static boolean isInterrupt(IOException cause) {
    return cause instanceof ClosedByInterruptException || cause instanceof InterruptedIOException;
  }
}
