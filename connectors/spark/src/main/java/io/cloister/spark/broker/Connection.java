package io.cloister.spark.broker;

import static io.cloister.spark.broker.BrokerException.Code.PROTOCOL;

import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import java.io.Closeable;
import java.io.EOFException;
import java.io.IOException;
import java.net.UnixDomainSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.SocketChannel;
import java.nio.file.Path;

/** One connection to the key broker: a frame out, a frame in. */
final class Connection implements Closeable {
  static final int MAX_FRAME = 16 * 1024 * 1024;

  private static final JsonMapper JSON =
      JsonMapper.builder()
          .enable(JsonParser.Feature.STRICT_DUPLICATE_DETECTION)
          .enable(DeserializationFeature.FAIL_ON_TRAILING_TOKENS)
          .build();

  private final SocketChannel channel;

  private Connection(SocketChannel channel) {
    this.channel = channel;
  }

  static Connection open(Path socket) throws IOException {
    return new Connection(SocketChannel.open(UnixDomainSocketAddress.of(socket)));
  }

  /** The frame that holds a request. */
  static ByteBuffer frame(JsonNode request) throws IOException {
    byte[] json = JSON.writeValueAsBytes(request);
    if (json.length > MAX_FRAME) {
      throw new BrokerException(
          BrokerException.Code.MALFORMED,
          "request: wanted at most " + MAX_FRAME + " bytes, seen " + json.length
              + "; an output of fewer, larger files has a shorter list");
    }
    return ByteBuffer.allocate(Integer.BYTES + json.length)
        .putInt(json.length)
        .put(json)
        .flip();
  }

  JsonNode exchange(ByteBuffer frame) throws IOException {
    while (frame.hasRemaining()) channel.write(frame);
    int length = read(Integer.BYTES).getInt();
    if (length < 0 || length > MAX_FRAME) {
      throw new BrokerException(
          PROTOCOL, "reply: wanted at most " + MAX_FRAME + " bytes, seen "
              + Integer.toUnsignedLong(length));
    }
    try {
      return JSON.readTree(read(length).array());
    } catch (JsonProcessingException cause) {
      // Jackson's own message may quote the reply, and so a key.
      throw new BrokerException(PROTOCOL, "reply: wanted JSON, seen something else");
    }
  }

  private ByteBuffer read(int length) throws IOException {
    ByteBuffer bytes = ByteBuffer.allocate(length);
    while (bytes.hasRemaining()) {
      if (channel.read(bytes) < 0) throw new EOFException("the key broker closed the connection");
    }
    return bytes.flip();
  }

  @Override
  public void close() throws IOException {
    channel.close();
  }
}
