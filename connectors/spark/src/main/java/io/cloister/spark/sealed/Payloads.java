package io.cloister.spark.sealed;

import com.google.crypto.tink.subtle.AesGcmHkdfStreaming;
import java.security.GeneralSecurityException;

/** The one payload suite: Tink's streaming AEAD. */
final class Payloads {
  private Payloads() {}

  static AesGcmHkdfStreaming suite(Dek dek, int segmentSize) {
    try {
      return new AesGcmHkdfStreaming(dek.bytes(), "HmacSha256", Dek.LENGTH, segmentSize, 0);
    } catch (GeneralSecurityException cause) {
      throw new IllegalStateException(cause);
    }
  }
}
