package io.cloister.spark.testing;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.cloister.spark.broker.Part;
import io.cloister.spark.broker.Run;
import io.cloister.spark.sealed.Dek;
import io.cloister.spark.sealed.FixedPart;
import io.cloister.spark.sealed.SealedException;
import io.cloister.spark.sealed.SealedHeader;
import io.cloister.spark.sealed.SealedReader;
import java.io.Closeable;
import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.EOFException;
import java.io.FileNotFoundException;
import java.io.IOException;
import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.channels.Channels;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.SecureRandom;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Base64;
import java.util.HexFormat;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.stream.Stream;
import org.apache.hadoop.fs.FSDataInputStream;
import org.apache.hadoop.fs.FSDataOutputStream;
import org.apache.hadoop.fs.FileSystem;

/**
 * A key broker for tests, which speaks docs/protocols/key-broker.md and verifies a commit's parts
 * as an instance's init does. Its datasets lie in folders of the test.
 */
public final class TestBroker implements Closeable {
  private static final ObjectMapper JSON = new ObjectMapper();
  private static final Base64.Encoder BASE64URL = Base64.getUrlEncoder().withoutPadding();
  private static final SecureRandom RANDOM = new SecureRandom();

  /** An input of the job: its parts as the manifest has them, and the keys of all. */
  public final class Input {
    private final String name;
    private final String datasetId;
    private final Path folder;
    private final String mediaType;
    public final List<Part> parts = new CopyOnWriteArrayList<>();

    Input(String name, String datasetId, String mediaType) throws IOException {
      this.name = name;
      this.datasetId = datasetId;
      this.mediaType = mediaType;
      folder = Files.createDirectories(root.resolve("in").resolve(name));
    }

    public String sealedPath() {
      return "sealed+" + base + folder;
    }

    public Path file(Part part) {
      return folder.resolve(part.name());
    }

    public Part add(String path, byte[] plaintext) throws IOException {
      return add(path, plaintext, 4096);
    }

    public Part add(String path, byte[] plaintext, int segmentSize) throws IOException {
      FixedPart fixed = new FixedPart(datasetId, id(), mediaType, parts.size(), segmentSize);
      byte[] key = new byte[Dek.LENGTH];
      RANDOM.nextBytes(key);
      byte[] file = TestFiles.seal(fixed, Dek.from(key), plaintext);
      Part part =
          new Part(
              fixed.part(), String.format("part-%05d-%s.sealed", fixed.part(), fixed.fileId()),
              path, fixed.fileId(),
              SealedHeader.digestOf(SealedHeader.encodeFixed(fixed, 4096)), file.length,
              HexFormat.of().formatHex(file, file.length - 16, file.length), -1);
      write(file(part), file);
      keys.put(fixed.fileId(), key);
      parts.add(part);
      return part;
    }
  }

  /** An output of the job, as the last commit left it. */
  public final class Output {
    private final String name;
    private final String datasetId = id();
    private final Path folder;
    private final Path partsFolder;
    private final String mediaType;
    private final Map<String, String> given = new ConcurrentHashMap<>();
    public final List<Part> committed = new CopyOnWriteArrayList<>();
    public final List<String> modes = new CopyOnWriteArrayList<>();

    Output(String name, String mediaType) throws IOException {
      this.name = name;
      this.mediaType = mediaType;
      folder = root.resolve("out").resolve(name);
      partsFolder = Files.createDirectories(folder.resolve(".unfinished"));
    }

    public String sealedPath() {
      return "sealed+" + base + folder;
    }

    public Path file(Part part) {
      return partsFolder.resolve(part.name());
    }

    public List<String> filesInFolder() throws IOException {
      if (store != null) return namesInStore(partsFolder);
      try (var files = Files.list(partsFolder)) {
        return files.map(it -> it.getFileName().toString()).sorted().toList();
      }
    }

    /** Plaintext of the committed parts by path. */
    public Map<String, byte[]> plaintexts() throws IOException {
      Map<String, byte[]> plaintexts = new TreeMap<>();
      for (Part part : committed) {
        byte[] file = read(partsFolder.resolve(part.name()));
        plaintexts.put(part.path(), TestFiles.open(file, Dek.from(keys.get(part.fileId()))));
      }
      return plaintexts;
    }

    /** The committed parts, as another job's input of the same name and more. */
    public Input asInput(String inputName) throws IOException {
      Input input = new Input(inputName, datasetId, mediaType);
      for (Map.Entry<String, byte[]> file : plaintexts().entrySet()) {
        input.add(file.getKey(), file.getValue());
      }
      inputs.put(inputName, input);
      return input;
    }
  }

  /** A refusal, as the broker tells it. */
  private static final class Refusal extends Exception {
    private final String code;

    Refusal(String code, String message) {
      super(message);
      this.code = code;
    }
  }

  private final Path root;
  private final List<ServerSocketChannel> servers = new CopyOnWriteArrayList<>();
  private final List<SocketChannel> connections = new CopyOnWriteArrayList<>();
  private final Map<String, byte[]> keys = new ConcurrentHashMap<>();
  private final Map<String, Input> inputs = new LinkedHashMap<>();
  private final Map<String, Output> outputs = new LinkedHashMap<>();
  public final List<String> asked = new CopyOnWriteArrayList<>();
  private volatile int wrappedDekLength = 60;
  private volatile String deniedFile = "";
  private volatile boolean refusesCommits;
  private volatile String base = "file:";
  private volatile FileSystem store;

  public TestBroker(Path root) throws IOException {
    this.root = root;
    listen(socket(), JSON.createObjectNode().put("role", "alone"));
  }

  /** The socket of an instance that is told this of its run. */
  public Path socket(Run run) throws IOException {
    Path path = root.resolve("broker-" + run.name());
    ObjectNode told = JSON.createObjectNode();
    told.put("role", run.role().name().toLowerCase(Locale.ROOT)).put("name", run.name());
    told.put("runId", run.runId()).put("executors", run.executors());
    told.put("address", run.address()).put("driver", run.driver());
    run.ports().forEach(told.putArray("ports")::add);
    listen(path, told);
    return path;
  }

  private void listen(Path path, ObjectNode run) throws IOException {
    ServerSocketChannel server = ServerSocketChannel.open(StandardProtocolFamily.UNIX);
    server.bind(UnixDomainSocketAddress.of(path));
    servers.add(server);
    Thread thread = new Thread(() -> serve(server, run), "test-broker");
    thread.setDaemon(true);
    thread.start();
  }

  public Path socket() {
    return root.resolve("broker");
  }

  public synchronized Input input(String name, String mediaType) throws IOException {
    Input input = new Input(name, id(), mediaType);
    inputs.put(name, input);
    return input;
  }

  public synchronized Output output(String name, String mediaType) throws IOException {
    Output output = new Output(name, mediaType);
    outputs.put(name, output);
    return output;
  }

  public void deny(String fileId) {
    deniedFile = fileId;
  }

  public void swapKeys(String one, String other) {
    keys.put(one, keys.put(other, keys.get(one)));
  }

  /** Tells folders as URIs of this scheme. */
  public void storedIn(String scheme) {
    base = scheme + ":";
  }

  /** Keeps sealed files in a store, and not in folders of the test. */
  public void storedIn(FileSystem fileSystem) {
    store = fileSystem;
    base = fileSystem.getUri().toString();
  }

  /** Where the store has what else would be a file of the test. */
  public org.apache.hadoop.fs.Path inStore(Path file) {
    return new org.apache.hadoop.fs.Path(base + file);
  }

  private byte[] read(Path file) throws IOException {
    if (store == null) return Files.readAllBytes(file);
    try (FSDataInputStream in = store.open(inStore(file))) {
      return in.readAllBytes();
    }
  }

  private void write(Path file, byte[] bytes) throws IOException {
    if (store == null) {
      Files.write(file, bytes);
      return;
    }
    try (FSDataOutputStream out = store.create(inStore(file), true)) {
      out.write(bytes);
    }
  }

  private List<String> namesInStore(Path folder) throws IOException {
    try {
      return Stream.of(store.listStatus(inStore(folder))).map(it -> it.getPath().getName())
          .sorted().toList();
    } catch (FileNotFoundException empty) {
      return List.of();
    }
  }

  private String folderOf(Path path) {
    return base.equals("file:") ? path.toString() : base + path;
  }

  public void refuseCommits() {
    refusesCommits = true;
  }

  public void wrapInto(int bytes) {
    wrappedDekLength = bytes;
  }

  /** Every key that was ever in use here. */
  public List<byte[]> keys() {
    return List.copyOf(keys.values());
  }

  private static String id() {
    byte[] bytes = new byte[16];
    RANDOM.nextBytes(bytes);
    return HexFormat.of().formatHex(bytes);
  }

  private void serve(ServerSocketChannel server, ObjectNode run) {
    try {
      while (true) {
        SocketChannel connection = server.accept();
        connections.add(connection);
        Thread thread = new Thread(() -> answer(connection, run), "test-broker-connection");
        thread.setDaemon(true);
        thread.start();
      }
    } catch (IOException closed) {
      return;
    }
  }

  private void answer(SocketChannel connection, ObjectNode run) {
    try (connection) {
      DataInputStream in = new DataInputStream(Channels.newInputStream(connection));
      DataOutputStream out = new DataOutputStream(Channels.newOutputStream(connection));
      while (true) {
        byte[] request = in.readNBytes(in.readInt());
        byte[] reply = JSON.writeValueAsBytes(reply(JSON.readTree(request), run));
        out.writeInt(reply.length);
        out.write(reply);
        out.flush();
      }
    } catch (EOFException ended) {
      return;
    } catch (IOException closed) {
      return;
    }
  }

  private synchronized ObjectNode reply(JsonNode request, ObjectNode run) throws IOException {
    ObjectNode reply = JSON.createObjectNode();
    String ask = request.get("ask").textValue();
    asked.add(ask);
    try {
      reply.set(
          "ok",
          switch (ask) {
            case "job" -> job();
            case "run" -> run;
            case "parts" -> parts(request);
            case "open" -> open(request);
            case "create" -> create(request);
            case "written" -> written(request);
            case "reopen" -> reopen(request);
            case "evidence" -> evidence();
            case "commit" -> commit(request);
            default -> throw new Refusal("MALFORMED", "no such request");
          });
    } catch (Refusal refusal) {
      reply.putObject("error").put("code", refusal.code).put("message", refusal.getMessage());
    }
    return reply;
  }

  private ObjectNode job() {
    ObjectNode job = JSON.createObjectNode().put("version", 1);
    var ins = job.putArray("inputs");
    for (Input input : inputs.values()) {
      ins.addObject()
          .put("name", input.name).put("datasetId", input.datasetId).put("version", 1)
          .put("format", "files").put("mediaType", input.mediaType)
          .put("folder", folderOf(input.folder)).put("parts", input.parts.size());
    }
    var outs = job.putArray("outputs");
    for (Output output : outputs.values()) {
      outs.addObject()
          .put("name", output.name).put("datasetId", output.datasetId).put("format", "files")
          .put("mediaType", output.mediaType).put("folder", folderOf(output.folder))
          .put("partsFolder", folderOf(output.partsFolder));
    }
    return job.put("scratchFolder", root.resolve("scratch").toString());
  }

  private ObjectNode parts(JsonNode request) throws Refusal {
    Input input = inputs.get(request.get("input").textValue());
    if (input == null) throw new Refusal("UNKNOWN_INPUT", "no such input");
    int from = request.get("from").intValue();
    int to = Math.min(input.parts.size(), from + request.get("size").intValue());
    ObjectNode ok = JSON.createObjectNode();
    var array = ok.putArray("parts");
    input.parts.subList(from, to).forEach(part -> tell(part, array.addObject()));
    return ok;
  }

  private ObjectNode open(JsonNode request) throws Refusal {
    ObjectNode ok = JSON.createObjectNode();
    ObjectNode deks = ok.putObject("deks");
    for (JsonNode file : request.get("files")) {
      String fileId = file.textValue();
      if (fileId.equals(deniedFile)) throw new Refusal("DENIED", "the policy says no");
      Input input = inputs.get(request.get("input").textValue());
      if (input.parts.stream().noneMatch(part -> part.fileId().equals(fileId))) {
        throw new Refusal("UNKNOWN_FILE", fileId);
      }
      deks.put(fileId, BASE64URL.encodeToString(keys.get(fileId)));
    }
    return ok;
  }

  private ObjectNode create(JsonNode request) throws Refusal {
    Output output = outputs.get(request.get("output").textValue());
    if (output == null) throw new Refusal("UNKNOWN_OUTPUT", "no such output");
    ObjectNode ok = JSON.createObjectNode();
    ObjectNode files = ok.putObject("files");
    for (JsonNode file : request.get("files")) {
      String fileId = file.get("fileId").textValue();
      byte[] key = new byte[Dek.LENGTH];
      RANDOM.nextBytes(key);
      keys.put(fileId, key);
      output.given.put(fileId, file.get("fixedDigest").textValue());
      ObjectNode created = files.putObject(fileId).put("dek", BASE64URL.encodeToString(key));
      created.putArray("slots").addObject()
          .put("kmsId", "kms").put("cmkId", "cmk").put("cmkVersion", 1)
          .put("wrappedDek", BASE64URL.encodeToString(new byte[wrappedDekLength]));
    }
    return ok;
  }

  private static ObjectNode evidence() {
    return JSON.createObjectNode().put("tee", "sim").put("measurement", "11".repeat(32))
        .put("jobDigest", "22".repeat(32)).put("kmsId", "33".repeat(32));
  }

  private ObjectNode written(JsonNode request) throws Refusal {
    Output output = outputs.get(request.get("output").textValue());
    if (output == null) throw new Refusal("UNKNOWN_OUTPUT", "no such output");
    int total = output.committed.size();
    int from = Math.min(total, request.get("from").intValue());
    int to = Math.min(total, from + request.get("size").intValue());
    ObjectNode ok = JSON.createObjectNode();
    ok.put("commits", output.modes.size()).put("total", total);
    var array = ok.putArray("parts");
    output.committed.subList(from, to).forEach(part -> tell(part, array.addObject()));
    return ok;
  }

  private ObjectNode reopen(JsonNode request) throws Refusal {
    Output output = outputs.get(request.get("output").textValue());
    ObjectNode ok = JSON.createObjectNode();
    ObjectNode deks = ok.putObject("deks");
    for (JsonNode file : request.get("files")) {
      String fileId = file.textValue();
      if (output.committed.stream().noneMatch(part -> part.fileId().equals(fileId))) {
        throw new Refusal("UNKNOWN_FILE", fileId);
      }
      deks.put(fileId, BASE64URL.encodeToString(keys.get(fileId)));
    }
    return ok;
  }

  private static void tell(Part part, ObjectNode item) {
    item.put("number", part.number()).put("name", part.name()).put("path", part.path())
        .put("fileId", part.fileId()).put("fixedDigest", part.fixedDigest())
        .put("length", part.length()).put("lastTag", part.lastTag()).putNull("rows");
  }

  private ObjectNode commit(JsonNode request) throws Refusal, IOException {
    Output output = outputs.get(request.get("output").textValue());
    if (output == null) throw new Refusal("UNKNOWN_OUTPUT", "no such output");
    List<Part> parts = new ArrayList<>();
    for (JsonNode item : request.get("parts")) {
      Part part =
          new Part(
              item.get("number").longValue(), item.get("name").textValue(),
              item.get("path").textValue(), item.get("fileId").textValue(),
              item.get("fixedDigest").textValue(), item.get("length").longValue(),
              item.get("lastTag").textValue(), -1);
      if (refusesCommits || !isWritten(output, part)) throw new Refusal("PART", part.name());
      parts.add(part);
    }
    String mode = request.get("mode").textValue();
    output.modes.add(mode);
    if (mode.equals("replace")) output.committed.clear();
    output.committed.addAll(parts);
    return JSON.createObjectNode();
  }

  private boolean isWritten(Output output, Part part) throws IOException {
    String digest = output.given.get(part.fileId());
    byte[] file = read(output.partsFolder.resolve(part.name()));
    try (SealedReader reader = TestFiles.reader(file, Dek.from(keys.get(part.fileId())))) {
      SealedHeader header = reader.header();
      return digest.equals(part.fixedDigest())
          && digest.equals(SealedHeader.digestOf(header.fixedBytes()))
          && header.fixed().part() == part.number()
          && header.fixed().datasetId().equals(output.datasetId)
          && header.fixed().mediaType().equals(output.mediaType)
          && file.length == part.length()
          && Arrays.equals(reader.lastTag(), HexFormat.of().parseHex(part.lastTag()))
          && part.name().equals(
              String.format("part-%05d-%s.sealed", part.number(), part.fileId()));
    } catch (SealedException changed) {
      return false;
    }
  }

  @Override
  public void close() throws IOException {
    for (ServerSocketChannel server : servers) server.close();
    for (SocketChannel connection : connections) connection.close();
  }
}
