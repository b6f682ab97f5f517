package io.cloister.spark.broker;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.IOException;
import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.channels.Channels;
import java.nio.channels.ServerSocketChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.concurrent.ConcurrentLinkedQueue;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** The protocol's frames, against a broker that answers what it is told to. */
class KeyBrokerTest {
  private static final String ID = "a".repeat(32);
  private static final String DEK = "A".repeat(43);
  private static final Job.Input INPUT =
      new Job.Input("people", ID, 1, "csv", "text/csv", "/in/people", 2);

  @TempDir Path folder;
  private ServerSocketChannel server;
  private KeyBroker broker;
  private final ConcurrentLinkedQueue<byte[]> replies = new ConcurrentLinkedQueue<>();
  private final List<String> requests = Collections.synchronizedList(new ArrayList<>());

  @BeforeEach
  void serve() throws Exception {
    Path socket = folder.resolve("broker");
    server = ServerSocketChannel.open(StandardProtocolFamily.UNIX);
    server.bind(UnixDomainSocketAddress.of(socket));
    broker = new KeyBroker(socket);
    Thread thread = new Thread(this::answer);
    thread.setDaemon(true);
    thread.start();
  }

  @AfterEach
  void stop() throws Exception {
    server.close();
  }

  private void answer() {
    while (server.isOpen()) {
      try (var connection = server.accept()) {
        var in = new DataInputStream(Channels.newInputStream(connection));
        var out = new DataOutputStream(Channels.newOutputStream(connection));
        while (true) {
          byte[] request = in.readNBytes(in.readInt());
          requests.add(new String(request, StandardCharsets.UTF_8));
          byte[] frame = replies.poll();
          if (frame == null) break;
          out.write(frame);
          out.flush();
        }
      } catch (IOException ended) {
        continue;
      }
    }
  }

  private void reply(String json) throws IOException {
    byte[] bytes = json.getBytes(StandardCharsets.UTF_8);
    var frame = java.nio.ByteBuffer.allocate(4 + bytes.length).putInt(bytes.length).put(bytes);
    replies.add(frame.array());
  }

  private static String part(int number) {
    return "{\"number\":" + number + ",\"name\":\"p" + number + ".sealed\",\"path\":\"a/" + number
        + ".csv\",\"fileId\":\"" + String.format("%032x", number) + "\",\"fixedDigest\":\""
        + "b".repeat(64) + "\",\"length\":4152,\"lastTag\":\"" + "c".repeat(32)
        + "\",\"rows\":null}";
  }

  @Test
  void asksForAllPartsPageByPage() throws Exception {
    reply("{\"ok\":{\"parts\":[" + part(0) + "]}}");
    reply("{\"ok\":{\"parts\":[" + part(1) + "]}}");
    assertEquals(
        List.of("a/0.csv", "a/1.csv"), broker.parts(INPUT).stream().map(Part::path).toList());
    assertEquals(
        List.of(
            "{\"ask\":\"parts\",\"input\":\"people\",\"from\":0,\"size\":1000}",
            "{\"ask\":\"parts\",\"input\":\"people\",\"from\":1,\"size\":1000}"),
        requests);
  }

  @Test
  void refusesMoreOrFewerPartsThanTheJobHas() throws Exception {
    reply("{\"ok\":{\"parts\":[" + part(0) + "," + part(1) + "," + part(2) + "]}}");
    assertCode("PROTOCOL", () -> broker.parts(INPUT));
    reply("{\"ok\":{\"parts\":[]}}");
    assertCode("PROTOCOL", () -> broker.parts(INPUT));
  }

  @Test
  void saysWhatTheBrokerRefused() throws Exception {
    reply("{\"error\":{\"code\":\"DENIED\",\"message\":\"policy p: job digest differs\"}}");
    BrokerException refusal =
        assertThrows(BrokerException.class, () -> broker.open("people", ID));
    assertEquals(BrokerException.Code.DENIED, refusal.code());
    assertTrue(refusal.getMessage().contains("job digest differs"));
    assertEquals(
        "{\"ask\":\"open\",\"input\":\"people\",\"files\":[\"" + ID + "\"]}",
        requests.get(0));
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "", "{", "[]", "null", "{}", "{\"ok\":{}}", "{\"ok\":{\"deks\":{}}}",
        "{\"ok\":{\"deks\":{\"x\":\"y\"}}}", "{\"ok\":{\"deks\":{\"ID\":\"DEK=\"}}}",
        "{\"ok\":{\"deks\":{\"ID\":\"DE!\"}}}", "{\"ok\":{\"deks\":{\"ID\":5}}}",
        "{\"ok\":{\"deks\":{\"ID\":\"DEK\"},\"more\":1}}", "{\"ok\":{\"deks\":{\"ID\":\"DEK\"}}} 1",
        "{\"ok\":{\"deks\":{\"ID\":\"DEK\",\"ID\":\"DEK\"}}}",
        "{\"ok\":{\"deks\":{\"ID\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAB\"}}}",
        "{\"error\":{\"code\":\"NEW\",\"message\":\"\"}}", "{\"error\":{\"code\":\"DENIED\"}}",
        "{\"error\":{\"code\":\"DENIED\",\"message\":\"\"},\"ok\":{}}"
      })
  void refusesRepliesOutOfTheProtocol(String json) throws Exception {
    reply(json.replace("ID", ID).replace("DEK", DEK));
    BrokerException refusal =
        assertThrows(BrokerException.class, () -> broker.open("people", ID));
    assertEquals(BrokerException.Code.PROTOCOL, refusal.code());
    assertFalse(refusal.toString().contains("AAAAAA"), refusal.toString());
  }

  @Test
  void refusesFramesThatAreTooLong() throws Exception {
    replies.add(new byte[] {1, 0, 0, 1});
    assertCode("PROTOCOL", () -> broker.job());
    replies.add(new byte[] {-1, -1, -1, -1});
    assertCode("PROTOCOL", () -> broker.job());
    Part part =
        new Part(0, "p", "x/".repeat(400) + "x", ID, "b".repeat(64), 4152, "c".repeat(32), -1);
    List<Part> many = Collections.nCopies(20_000, part);
    assertCode("MALFORMED", () -> broker.commit("out", KeyBroker.Mode.APPEND, many));
  }

  @Test
  void takesANewConnectionAfterOneBroke() throws Exception {
    assertCode("UNAVAILABLE", () -> broker.job());
    reply("{\"ok\":{\"deks\":{\"" + ID + "\":\"" + DEK + "\"}}}");
    assertEquals("[Dek]", broker.open("people", ID).toString());
  }

  @Test
  void losesOneConnectionToAnInterrupt() throws Exception {
    String ok = "{\"ok\":{\"deks\":{\"" + ID + "\":\"" + DEK + "\"}}}";
    reply(ok);
    broker.open("people", ID);
    Thread.currentThread().interrupt();
    assertThrows(
        java.nio.channels.ClosedByInterruptException.class, () -> broker.open("people", ID));
    assertTrue(Thread.interrupted());
    reply(ok);
    assertEquals("[Dek]", broker.open("people", ID).toString());
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "/a", "a/", "a//b", "", ".", "a/../b", "a\\b", "a\nb", "a\u007fb", "a\u009fb", "a\ud800b"
      })
  void refusesPathsThatNoDatasetHas(String path) {
    assertThrows(
        IllegalArgumentException.class,
        () -> new Part(0, "p", path, ID, "b".repeat(64), 4152, "c".repeat(32), -1));
  }

  @ParameterizedTest
  @ValueSource(strings = {"manifest.jws", "manifest-x", ".x", "a/b", "", "a b"})
  void refusesNamesThatNoPartHas(String name) {
    assertThrows(
        IllegalArgumentException.class,
        () -> new Part(0, name, "a", ID, "b".repeat(64), 4152, "c".repeat(32), -1));
  }

  private interface Act {
    void run() throws Exception;
  }

  private static void assertCode(String code, Act act) {
    assertEquals(code, assertThrows(BrokerException.class, act::run).code().name());
  }
}
