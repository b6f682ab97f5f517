package io.cloister.spark.broker;

import static io.cloister.spark.broker.BrokerException.Code.PROTOCOL;

import com.fasterxml.jackson.databind.JsonNode;
import io.cloister.spark.sealed.Dek;
import io.cloister.spark.sealed.Slot;
import java.io.IOException;
import java.util.ArrayList;
import java.util.Base64;
import java.util.HashSet;
import java.util.List;
import java.util.Set;

/** An object of a reply, with exactly the members that its reader names. */
final class Reply {
  private static final int MAX_PARTS = 100_000;

  private final JsonNode object;
  private final String where;

  private Reply(JsonNode object, String where, String... members) throws BrokerException {
    this.object = object;
    this.where = where;
    Set<String> seen = new HashSet<>();
    object.fieldNames().forEachRemaining(seen::add);
    if (!object.isObject() || !seen.equals(Set.of(members))) {
      throw wrong("an object with " + String.join(", ", members), seen);
    }
  }

  /** What is in {@code ok}, or the broker's refusal. */
  static JsonNode ok(JsonNode reply) throws BrokerException {
    if (reply.has("error")) {
      Reply error = new Reply(reply, "reply", "error").object("error", "code", "message");
      throw new BrokerException(error.code(), error.text("message"));
    }
    return new Reply(reply, "reply", "ok").object.get("ok");
  }

  private BrokerException.Code code() throws BrokerException {
    String code = text("code");
    try {
      return BrokerException.Code.valueOf(code);
    } catch (IllegalArgumentException cause) {
      throw wrong("a code of the protocol", code);
    }
  }

  static Job job(JsonNode ok) throws BrokerException {
    Reply job = new Reply(ok, "job", "version", "inputs", "outputs", "scratchFolder");
    if (job.integer("version") != 1) throw job.wrong("version 1", job.integer("version"));
    List<Job.Input> inputs = new ArrayList<>();
    for (JsonNode item : job.array("inputs")) inputs.add(input(item));
    List<Job.Output> outputs = new ArrayList<>();
    for (JsonNode item : job.array("outputs")) outputs.add(output(item));
    return new Job(List.copyOf(inputs), List.copyOf(outputs), job.text("scratchFolder"));
  }

  private static Job.Input input(JsonNode item) throws BrokerException {
    Reply input =
        new Reply(
            item, "input", "name", "datasetId", "version", "format", "mediaType", "folder",
            "parts");
    return new Job.Input(
        input.text("name"), input.text("datasetId"), input.integer("version"),
        input.text("format"), input.text("mediaType"), input.text("folder"),
        input.count("parts"));
  }

  private static Job.Output output(JsonNode item) throws BrokerException {
    Reply output =
        new Reply(
            item, "output", "name", "datasetId", "format", "mediaType", "folder", "partsFolder");
    return new Job.Output(
        output.text("name"), output.text("datasetId"), output.text("format"),
        output.text("mediaType"), output.text("folder"), output.text("partsFolder"));
  }

  static Run run(JsonNode ok) throws BrokerException {
    if (ok.path("role").asText().equals("alone")) {
      new Reply(ok, "run", "role");
      return Run.alone();
    }
    Reply run =
        new Reply(
            ok, "run", "role", "name", "runId", "executors", "ports", "address", "driver");
    List<Integer> ports = new ArrayList<>();
    for (JsonNode port : run.array("ports")) ports.add(port.asInt());
    return new Run(
        run.role(), run.text("name"), run.text("runId"), run.count("executors"),
        List.copyOf(ports), run.text("address"), run.text("driver"));
  }

  private Run.Role role() throws BrokerException {
    return switch (text("role")) {
      case "driver" -> Run.Role.DRIVER;
      case "executor" -> Run.Role.EXECUTOR;
      default -> throw wrong("role driver or executor", text("role"));
    };
  }

  static List<Part> parts(JsonNode ok) throws BrokerException {
    List<Part> parts = new ArrayList<>();
    for (JsonNode item : new Reply(ok, "parts", "parts").array("parts")) parts.add(part(item));
    return parts;
  }

  private static Part part(JsonNode item) throws BrokerException {
    Reply part =
        new Reply(
            item, "part", "number", "name", "path", "fileId", "fixedDigest", "length", "lastTag",
            "rows");
    try {
      return new Part(
          part.integer("number"), part.text("name"), part.text("path"), part.text("fileId"),
          part.text("fixedDigest"), part.integer("length"), part.text("lastTag"),
          item.get("rows").isNull() ? -1 : part.integer("rows"));
    } catch (IllegalArgumentException cause) {
      throw new BrokerException(PROTOCOL, cause.getMessage(), cause);
    }
  }

  static Written written(JsonNode ok) throws BrokerException {
    Reply written = new Reply(ok, "written", "commits", "total", "parts");
    List<Part> parts = new ArrayList<>();
    for (JsonNode item : written.array("parts")) parts.add(part(item));
    return new Written(written.integer("commits"), parts);
  }

  static Evidence evidence(JsonNode ok) throws BrokerException {
    Reply evidence = new Reply(ok, "evidence", "tee", "measurement", "jobDigest", "kmsId");
    return new Evidence(
        evidence.text("tee"), evidence.text("measurement"), evidence.text("jobDigest"),
        evidence.text("kmsId"));
  }

  static Dek dek(JsonNode ok, String fileId) throws IOException {
    return new Reply(ok, "open", "deks").object("deks", fileId).dek(fileId);
  }

  static CreatedFile created(JsonNode ok, String fileId) throws IOException {
    Reply file =
        new Reply(ok, "create", "files").object("files", fileId).object(fileId, "dek", "slots");
    List<Slot> slots = new ArrayList<>();
    for (JsonNode item : file.array("slots")) {
      Reply slot = new Reply(item, "slot", "kmsId", "cmkId", "cmkVersion", "wrappedDek");
      slots.add(
          new Slot(
              slot.text("kmsId"), slot.text("cmkId"), slot.integer("cmkVersion"),
              slot.bytes("wrappedDek")));
    }
    return new CreatedFile(file.dek("dek"), List.copyOf(slots));
  }

  static void nothing(JsonNode ok) throws BrokerException {
    new Reply(ok, "commit");
  }

  private Reply object(String member, String... members) throws BrokerException {
    return new Reply(object.get(member), member, members);
  }

  private JsonNode array(String member) throws BrokerException {
    JsonNode value = object.get(member);
    if (!value.isArray()) throw wrong(member + " as an array", value.getNodeType());
    return value;
  }

  private String text(String member) throws BrokerException {
    JsonNode value = object.get(member);
    if (!value.isTextual()) throw wrong(member + " as a string", value.getNodeType());
    return value.textValue();
  }

  private long integer(String member) throws BrokerException {
    JsonNode value = object.get(member);
    if (!value.isIntegralNumber() || !value.canConvertToLong()) {
      throw wrong(member + " as an integer", value.getNodeType());
    }
    return value.longValue();
  }

  private int count(String member) throws BrokerException {
    long count = integer(member);
    if (count < 0 || count > MAX_PARTS) throw wrong(member + " from 0 to " + MAX_PARTS, count);
    return (int) count;
  }

  private Dek dek(String member) throws IOException {
    return Dek.from(bytes(member));
  }

  private byte[] bytes(String member) throws BrokerException {
    String text = text(member);
    try {
      byte[] bytes = Base64.getUrlDecoder().decode(text);
      if (Base64.getUrlEncoder().withoutPadding().encodeToString(bytes).equals(text)) return bytes;
    } catch (IllegalArgumentException cause) {
      // Its message would tell of the key.
    }
    throw wrong(member + " in base64url without padding", "something else");
  }

  private BrokerException wrong(String wanted, Object seen) {
    return new BrokerException(PROTOCOL, where + ": wanted " + wanted + ", seen " + seen);
  }
}
