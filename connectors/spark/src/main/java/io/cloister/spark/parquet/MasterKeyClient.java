package io.cloister.spark.parquet;

import io.cloister.spark.fs.SealedJob;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.Path;
import org.apache.parquet.crypto.KeyAccessDeniedException;
import org.apache.parquet.crypto.ParquetCryptoRuntimeException;
import org.apache.parquet.crypto.keytools.KeyToolkit;
import org.apache.parquet.crypto.keytools.KmsClient;

/**
 * Wraps and unwraps Parquet's keys under master keys that are files of the job's inputs: {@code
 * keys/footer} is the file {@code footer} of the input {@code keys}. The key broker gives them out,
 * as it does any input's; no configuration holds one.
 *
 * @see <a href="https://parquet.apache.org/docs/file-format/data-pages/encryption/">Parquet modular
 *     encryption</a>
 */
public final class MasterKeyClient implements KmsClient {
  static final int KEY_LENGTH = 32;

  private Configuration conf;

  /** Whatever service a file's key material names, or a configuration, is not looked for. */
  @Override
  public void initialize(Configuration conf, String instance, String url, String token) {
    this.conf = conf;
  }

  @Override
  public String wrapKey(byte[] key, String masterKeyId) {
    byte[] masterKey = masterKey(masterKeyId);
    try {
      return KeyToolkit.encryptKeyLocally(key, masterKey, utf8(masterKeyId));
    } finally {
      Arrays.fill(masterKey, (byte) 0);
    }
  }

  @Override
  public byte[] unwrapKey(String wrapped, String masterKeyId) {
    byte[] masterKey = masterKey(masterKeyId);
    try {
      return KeyToolkit.decryptKeyLocally(wrapped, masterKey, utf8(masterKeyId));
    } catch (ParquetCryptoRuntimeException | IllegalArgumentException cause) {
      throw new KeyAccessDeniedException("master key " + masterKeyId + " does not open this key", cause);
    } finally {
      Arrays.fill(masterKey, (byte) 0);
    }
  }

  private byte[] masterKey(String id) {
    int slash = id.indexOf('/');
    if (slash < 0) throw denied(id, "wanted INPUT/FILE of the job, seen another name", null);
    try {
      Path file =
          SealedJob.current()
              .inputFile(id.substring(0, slash), id.substring(slash + 1))
              .orElseThrow(() -> denied(id, "the job has no input with this file", null));
      try (InputStream in = file.getFileSystem(conf).open(file)) {
        byte[] key = in.readNBytes(KEY_LENGTH + 1);
        if (key.length == KEY_LENGTH) return key;
        Arrays.fill(key, (byte) 0);
        throw denied(id, "wanted a file of " + KEY_LENGTH + " bytes, seen another length", null);
      }
    } catch (IOException cause) {
      throw denied(id, cause.getMessage(), cause);
    }
  }

  private static KeyAccessDeniedException denied(String id, String why, Throwable cause) {
    return new KeyAccessDeniedException("master key " + id + ": " + why, cause);
  }

  private static byte[] utf8(String text) {
    return text.getBytes(StandardCharsets.UTF_8);
  }
}
