package io.cloister.spark.sealed;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.cloister.spark.testing.TestFiles;
import java.io.ByteArrayInputStream;
import java.nio.channels.Channels;
import java.nio.file.Path;
import java.util.Base64;
import java.util.HexFormat;
import java.util.List;
import java.util.stream.StreamSupport;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.TestFactory;

/** Payloads that Tink for Python made. */
class TinkVectorsTest {
  @TestFactory
  List<DynamicTest> opensWhatTinkMade() throws Exception {
    JsonNode vectors =
        new ObjectMapper()
            .readTree(Path.of("../../vectors/tink/vectors.json").toFile())
            .get("vectors");
    assertEquals(23, vectors.size());
    return StreamSupport.stream(vectors.spliterator(), false)
        .map(it -> DynamicTest.dynamicTest(nameOf(it), () -> opens(it)))
        .toList();
  }

  private static String nameOf(JsonNode vector) {
    return "segment " + vector.get("segmentSize") + ", length " + vector.get("plaintextLength");
  }

  private static void opens(JsonNode vector) throws Exception {
    Dek dek = Dek.from(HexFormat.of().parseHex(vector.get("keyHex").textValue()));
    byte[] ciphertext = Base64.getDecoder().decode(vector.get("ciphertextBase64").textValue());
    int segmentSize = vector.get("segmentSize").intValue();
    int length = vector.get("plaintextLength").intValue();
    assertEquals(length, PayloadLayout.of(ciphertext.length, segmentSize).plaintextLength());
    try (var plaintext =
        Channels.newInputStream(
            Payloads.suite(dek, segmentSize)
                .newDecryptingChannel(
                    Channels.newChannel(new ByteArrayInputStream(ciphertext)),
                    HexFormat.of().parseHex(vector.get("associatedDataHex").textValue())))) {
      assertArrayEquals(TestFiles.pattern(length), plaintext.readAllBytes());
    }
  }
}
